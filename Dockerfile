# evalkit as an image: `docker build -t evalkit .`, then e.g.
#   docker run --rm -v "$PWD:/work" -v /srv/benchmarks:/data:ro -e ENDPOINT_KEY evalkit compare reference.yaml candidate.yaml
# What is asked and stored lies under /work, data sets of an offline machine under /data. Nothing in it runs as root.
FROM python:3.12-slim AS build
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir --no-compile --prefix /opt/evalkit --constraint constraints.txt .

FROM python:3.12-slim
# bubblewrap keeps programs that a model wrote apart from everything else.
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends bubblewrap && rm -rf /var/lib/apt/lists/* \
  && useradd --create-home --uid 1000 evalkit && mkdir /work /data && chown evalkit /work
COPY --from=build /opt/evalkit /usr/local
USER evalkit
WORKDIR /work
ENV EVALKIT_DATA=/data PYTHONDONTWRITEBYTECODE=1
VOLUME ["/work", "/data"]
ENTRYPOINT ["evalkit"]
CMD ["--help"]
