# syntax=docker/dockerfile:1
# The service of docs/service.md.
#   docker build -t openlipsync .
#   docker build -t openlipsync:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .
#   docker run --rm -p 8001:8001 -p 8000:8000 openlipsync
ARG PYTHON_VERSION=3.12

FROM python:${PYTHON_VERSION}-slim-bookworm AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/openlipsync
ENV PATH=/opt/openlipsync/bin:$PATH
WORKDIR /source
COPY constraints.txt requirements-service.txt ./
# No window is opened here, so that OpenCV without one serves; face-alignment, the second face backend, is left out.
RUN pip install --index-url "${TORCH_INDEX}" "torch>=2.2" \
    && pip install -c constraints.txt numpy soundfile soxr safetensors einops av "opencv-python-headless>=4.8" -r requirements-service.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY LICENSES LICENSES
COPY lipsync_core lipsync_core
RUN pip install --no-deps .

FROM python:${PYTHON_VERSION}-slim-bookworm
LABEL org.opencontainers.image.title="OpenLipSync" \
      org.opencontainers.image.description="Dub a video: a face says new speech. Speaks the interface of NVIDIA's LipSync NIM." \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --create-home --uid 10001 openlipsync
COPY --from=build /opt/openlipsync /opt/openlipsync
ENV PATH=/opt/openlipsync/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
WORKDIR /home/openlipsync
EXPOSE 8001 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/v1/health/ready', timeout=4)"]
ENTRYPOINT ["python", "-m", "lipsync_core", "serve", "--host", "0.0.0.0"]
