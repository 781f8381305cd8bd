"""What the doctor looks at, one file a topic: the serving, replies, sampling, pictures, and this machine."""
