# check=error=true

# Penstock's programs and nothing around them: no shell, no package manager, no root. deploy/README.md says how to build and run it;
# tools/deploy/image_test.go holds this file to what it says.

FROM --platform=$BUILDPLATFORM golang:1.26.8-trixie AS build
WORKDIR /src
# GOTOOLCHAIN: the compiler is the one named above, whatever go.mod may come to ask for.
ENV CGO_ENABLED=0 GOFLAGS=-mod=readonly GOTOOLCHAIN=local
COPY go.mod go.sum ./
RUN go mod download
# With .git, from which the go command takes the version that `projector version` prints.
COPY . .
# Only from here on do platforms differ: the modules are downloaded once for all of them.
ARG TARGETOS
ARG TARGETARCH
RUN GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -o /out/ ./cmd/projector ./cmd/replay

FROM gcr.io/distroless/static-debian13:nonroot
ARG VERSION=development
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Penstock" \
      org.opencontainers.image.description="Keeps read tables in Cassandra up to date with a Kinesis stream of entity events" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.base.name="gcr.io/distroless/static-debian13:nonroot"
COPY LICENSE /usr/share/doc/penstock/LICENSE
COPY --from=build /out/projector /usr/local/bin/projector
COPY --from=build /out/replay /usr/local/bin/replay
# As a number, since Kubernetes cannot tell from a name that it is not root.
USER 65532:65532
EXPOSE 9464
ENTRYPOINT ["/usr/local/bin/projector"]
