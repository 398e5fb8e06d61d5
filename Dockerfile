# One image for pods, load-balancing endpoints and queue workers; start.sh chooses by MODE_TO_RUN or what RunPod sets.
#
#   docker build --platform linux/amd64 --tag voxtral-voice .
#   docker run --gpus all --publish 8000:8000 --env VOXTRAL_API_KEY=... voxtral-voice
#
# The base is one that RunPod's hosts keep, so that only our layers travel. Its torch is used as it is: another one would
# add 4 GB to every cold start on a host that has not seen the image. requirements-cuda12.txt names that torch.
FROM runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 HF_HUB_ENABLE_HF_TRANSFER=0
WORKDIR /opt/voxtral-voice/app

# An environment over the system's packages: it sees their torch, and our versions of everything else hide theirs.
RUN python3.12 -m venv --system-site-packages /opt/voxtral-voice/venv
ENV PATH=/opt/voxtral-voice/venv/bin:$PATH

# Dependencies before code: this layer changes with the pins alone.
COPY requirements.txt requirements-cuda12.txt ./
RUN grep -v '^torch==' requirements.txt >/tmp/requirements.txt \
    && pip install --no-cache-dir --constraint requirements-cuda12.txt --requirement /tmp/requirements.txt \
    && rm /tmp/requirements.txt

COPY pyproject.toml README.md LICENSE config.yaml ./
COPY src src
RUN pip install --no-cache-dir --no-deps .

# What is small is in the image. Voxtral (9.4 GB) comes from RunPod's model cache, or with
# --build-arg MODELS="silero smart_turn kokoro kokoro_voices voxtral" from the image too.
ARG MODELS="silero smart_turn kokoro kokoro_voices"
RUN echo "$MODELS" | VOXTRAL_MODELS_DIR=/opt/voxtral-voice/models xargs voxtral-voice models fetch

COPY bench bench
COPY handler.py start.sh ./

EXPOSE 8000 8005
HEALTHCHECK --interval=30s --timeout=6s --start-period=60s --retries=3 CMD ["bash", "start.sh", "health"]
CMD ["bash", "start.sh"]
