"""What leaves the house: model cards, the Hub, the history."""
