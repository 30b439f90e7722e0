# One image for every process: `rejoinder api`, `rejoinder worker`, `rejoinder dev`.
FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/rejoinder
COPY requirements.lock ./
RUN /opt/rejoinder/bin/pip install --no-cache-dir --no-deps -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY broker broker
COPY worker worker
COPY api api
COPY rejoinder rejoinder
RUN /opt/rejoinder/bin/pip install --no-cache-dir --no-deps .

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 rejoinder
COPY --from=build /opt/rejoinder /opt/rejoinder
ENV PATH=/opt/rejoinder/bin:$PATH PYTHONUNBUFFERED=1
USER rejoinder
EXPOSE 8000
ENTRYPOINT ["rejoinder"]
CMD ["dev"]
