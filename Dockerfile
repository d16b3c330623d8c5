ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
COPY requirements/ requirements/
RUN python -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt \
 && python -m venv --without-pip /opt/rotator \
 && /opt/build/bin/pip --python /opt/rotator/bin/python install --no-cache-dir --require-hashes -r requirements/all.txt
COPY pyproject.toml LICENSE README.md ./
COPY rotator/ rotator/
COPY backends/ backends/
RUN /opt/build/bin/python -m build --no-isolation --wheel --outdir /dist \
 && /opt/build/bin/pip --python /opt/rotator/bin/python install --no-cache-dir --no-index --no-deps /dist/*.whl

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="rotator" \
      org.opencontainers.image.description="Rotates JWT signing keys so that no verifier ever notices" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/rotator /opt/rotator
# The configuration is mounted at /etc/rotator/rotator.yaml; ring and material live in the volume.
RUN install -d -m 0755 /etc/rotator \
 && install -d -m 0700 -o 65532 -g 65532 /var/lib/rotator
ENV PATH=/opt/rotator/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1
VOLUME ["/var/lib/rotator"]
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["rotator"]
CMD ["run"]
