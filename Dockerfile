# The image: the binary with the web page in it, on slim Debian, as a user without rights.
#   docker build -t fanfare .

FROM node:20-bookworm-slim AS web
WORKDIR /build/web
COPY web/package.json web/package-lock.json ./
RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund
COPY web/ ./
RUN npm run build

FROM rust:1.95-bookworm AS server
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
# Members of the workspace; the image does not build them, but cargo wants to see them.
COPY loadtest/fanout/ loadtest/fanout/
COPY loadtest/progress-client/ loadtest/progress-client/
COPY src/ src/
COPY migrations/ migrations/
COPY config/ config/
COPY --from=web /build/web/dist web/dist
# The caches outlive the layer, so a change of one file compiles one crate. The binary must leave the cache in the same step,
# without its tables of lines, which are four fifths of it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin fanfare \
    && strip -o /usr/local/bin/fanfare target/release/fanfare

FROM debian:bookworm-slim
# Root certificates, for webhooks and InfluxDB over TLS: the newest there are, so no version is pinned.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --home-dir /var/lib/fanfare --create-home --shell /usr/sbin/nologin fanfare
COPY --from=server /usr/local/bin/fanfare /usr/local/bin/fanfare
COPY --chmod=755 deploy/healthcheck /usr/local/bin/healthcheck

USER 10001:10001
WORKDIR /var/lib/fanfare
VOLUME /var/lib/fanfare
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 CMD ["healthcheck"]
# Outside loopback the server refuses to start without SECRET_KEY.
ENTRYPOINT ["fanfare"]
CMD ["serve", "--listen", "0.0.0.0:8000", "--data-dir", "/var/lib/fanfare"]
