# docker build -t deeplab .
# docker run --rm --gpus all --shm-size=8g -u "$(id -u):$(id -g)" -v "$PWD:/work" deeplab train data=folder data.root=mine
# docker run --rm -u "$(id -u):$(id -g)" -v "$PWD:/work" deeplab predict run=runs/NAME input=photos
FROM python:3.12-slim
WORKDIR /src
COPY requirements.lock .
RUN pip install --no-cache-dir -r requirements.lock
COPY setup.py pyproject.toml README.md LICENSE ./
COPY conf conf
COPY src src
RUN pip install --no-cache-dir ".[export,video]"
WORKDIR /work
ENV HOME=/tmp
ENTRYPOINT ["deeplab"]
