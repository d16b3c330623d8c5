# BASE is any image with Python >= 3.11, its venv module and pip's wheel; both stages use it, so that the interpreter
# of the environment lies where the environment looks for it. Nothing here depends on the architecture.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY requirements/all.txt requirements/build.txt requirements/
# Everything is fetched once with its hash checked; from then on nothing is taken from anywhere else. A mirror, its
# login or a certificate authority of your own go into a pip.conf, which is mounted and stays out of every layer.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python3 -m venv /opt/build \
 && /opt/build/bin/pip install --require-hashes -r requirements/build.txt \
 && /opt/build/bin/pip download --quiet --require-hashes --only-binary :all: --dest /wheels -r requirements/all.txt
COPY pyproject.toml LICENSE README.md ./
COPY rotator/ rotator/
COPY backends/ backends/
# Which backends the image holds: all of them, or a few, such as EXTRAS=vault or EXTRAS=aws,kubernetes. The embedded
# file store is always there.
ARG EXTRAS=all
RUN /opt/build/bin/python -m build --no-isolation --wheel --outdir /wheels \
 && python3 -m venv --without-pip /opt/rotator \
 && /opt/build/bin/pip --python /opt/rotator/bin/python install --no-compile --no-index --find-links /wheels "jwks-rotator[${EXTRAS}]"
# Of what the AWS SDK knows about 400 services there stays what this program and the SDK's own logins ask for, in its
# newest version, compressed (which the SDK reads as well). Stubs and tests are nothing to run, and with pip gone nobody
# reads the lists of installed files.
RUN cd /opt/rotator/lib/python3*/site-packages \
 && if [ -d botocore/data ]; then \
        find botocore/data -mindepth 1 -maxdepth 1 -type d \
            ! -name cloudfront ! -name iam ! -name s3 ! -name secretsmanager ! -name signin ! -name sso ! -name sso-oidc ! -name sts \
            -exec rm -r {} + \
     && for service in botocore/data/*/; do ls -d "$service"*/ | sort | sed '$d' | xargs -r rm -r; done \
     && gzip -9n botocore/data/*.json; \
    fi \
 && rm -rf boto3/data \
 && find . -type d -name tests -prune -exec rm -r {} + \
 && find . -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.h' -o -name RECORD \) -delete
# Bytecode is made here, for the root is read-only at run time: of all that the short commands load, without the tables
# that only draw carets below a line of a traceback, and without dates, so that two builds are alike.
RUN cd /opt/rotator/lib/python3*/site-packages \
 && python3 -X no_debug_ranges -m compileall -q --invalidation-mode unchecked-hash \
        -x '/(apscheduler|boto3|botocore/docs|cffi|granian|prometheus_client|pycparser|rotator/rehearsal|rotator/testing|s3transfer|setuptools|tzdata)/|/click/testing|/dateutil/rrule|/pydantic/(color|experimental|mypy|v1)|/structlog/(dev|twisted)|/urllib3/contrib/emscripten' .

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="rotator" \
      org.opencontainers.image.description="Rotates JWT signing keys so that no verifier ever notices" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}"
# Where volumes are mounted; a new volume takes over owner and mode. State; a JWKS for a web server; keys for signers.
RUN install -d -m 0755 /etc/rotator \
 && install -d -m 0755 -o 65532 -g 65532 /srv/jwks \
 && install -d -m 0700 -o 65532 -g 65532 /srv/signing /var/lib/rotator
COPY --from=build /opt/rotator /opt/rotator
ENV PATH=/opt/rotator/bin:$PATH \
    HOME=/var/lib/rotator \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1
VOLUME ["/var/lib/rotator"]
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["rotator", "healthcheck"]
ENTRYPOINT ["rotator"]
CMD ["run"]
