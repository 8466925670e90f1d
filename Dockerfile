# The command in a container; the folder with your data is mounted at /data.
#
#     docker build -t diffrect .
#     docker build -t diffrect --build-arg DEVICE=cuda .
#     docker run --rm -v "$PWD:/data" diffrect prepare ACDC store
#     docker run --rm -v "$PWD:/data" --gpus all --shm-size 8g diffrect train store run
ARG PYTHON=3.13
FROM python:${PYTHON}-slim

# cpu takes PyTorch's build without CUDA, a tenth of the size; cuda takes the one that pip installs.
ARG DEVICE=cpu

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /opt/diffrect
COPY constraints.txt .
RUN case "$DEVICE" in \
        cpu) pip install -c constraints.txt --index-url https://download.pytorch.org/whl/cpu torch ;; \
        cuda) pip install -c constraints.txt torch ;; \
        *) echo "DEVICE: expected cpu or cuda, got $DEVICE" >&2; exit 2 ;; \
    esac
COPY pyproject.toml LICENSE ./
COPY docs/tools/long_description.md docs/tools/
COPY src src
RUN pip install -c constraints.txt '.[onnx]'

# Whoever runs it may be any user, without a home folder.
ENV MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /data
ENTRYPOINT ["diffrect"]
CMD ["--help"]
