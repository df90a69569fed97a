# The imputation service, for CPU or CUDA. How to build and to run it: docs/container.md.

FROM python:3.11-slim-bookworm AS build

# Which of torch's builds (cpu, cu128, ...), and the index that has it besides pip's own.
ARG TORCH_BUILD=cpu
ARG PIP_EXTRA_INDEX_URL=""

WORKDIR /source
RUN python -m venv --without-pip /opt/venv

# Versions come from the lock file. It names torch without the suffix of a build; here the suffix is
# asked for, so that a missing index fails instead of bringing another build. Torch is the largest
# layer by far and comes first: a change of the source does not fetch it again.
COPY requirements.lock ./
RUN sed "s/^torch==.*/&+${TORCH_BUILD}/" requirements.lock > constraints.txt \
    && pip --python /opt/venv/bin/python install --no-cache-dir --constraint constraints.txt torch

# Tests and C++ headers of the packages are a fifth of what is installed. What is left must import.
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY tsimpute tsimpute
RUN pip --python /opt/venv/bin/python install --no-cache-dir --constraint constraints.txt ".[serve]" \
    && find /opt/venv -depth -type d \( -name test -o -name tests -o -name include \) \
       -exec rm -rf {} + \
    && find /opt/venv -path '*/torch/bin/*' ! -name torch_shm_manager -delete \
    && /opt/venv/bin/python -c "import numpy.testing, plotly, pyarrow.parquet, tsimpute.imputer"


FROM python:3.11-slim-bookworm

RUN groupadd --gid 10001 tsimpute \
    && useradd --uid 10001 --gid 10001 --no-log-init --no-create-home \
       --shell /usr/sbin/nologin tsimpute
COPY --from=build /opt/venv /opt/venv
COPY api /app/api

# Nothing is written below the root: bytecode was compiled by pip, models are mounted.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OMP_WAIT_POLICY=passive \
    TSIMPUTE_HOST=0.0.0.0 \
    TSIMPUTE_MODELS_DIR=/models

WORKDIR /app
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM

HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health/live', timeout=2)"]

CMD ["python", "-m", "api"]
