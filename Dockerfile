# Two images: `hub` (hub and conversation server, without torch) and `client` (a model in a room, with transformers).
#   docker build --target hub -t palaver .
#   docker build --target client -t palaver-client .
FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN useradd --create-home --uid 10001 palaver \
    && mkdir -p /app/config /app/data /app/logs \
    && chown -R palaver:palaver /app
WORKDIR /app
COPY pyproject.toml README.md LICENSE /src/
COPY prompts /src/prompts
COPY palaver /src/palaver

FROM base AS client
RUN pip install "/src[hf,openai]"
USER 10001
ENTRYPOINT ["palaver", "client"]

FROM base AS hub
RUN pip install "/src[api,openai]"
USER 10001
EXPOSE 8000 8765 9090
VOLUME ["/app/data", "/app/logs"]
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=2)"]
CMD ["python", "-m", "palaver.api", "--host", "0.0.0.0", "--hub-host", "0.0.0.0"]
