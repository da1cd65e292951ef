# syntax=docker/dockerfile:1
# One image for the API, the workers and the migrations; the command tells them apart (docker-compose.yml).

FROM node:24-slim AS base
WORKDIR /app
# stubs/ is part of the install: package.json's overrides point into it.
COPY package.json package-lock.json .npmrc ./
COPY stubs stubs

# The Prisma CLI comes without the development packages, as a peer of @prisma/client, and is needed only here.
FROM base AS client
RUN npm ci --omit=dev --no-audit --no-fund
COPY prisma prisma
COPY prisma.config.ts ./
RUN node node_modules/prisma/build/index.js generate

# 163 MB instead of 418: neither the CLI nor the PostgreSQL of `npm start`. esbuild, whose binary is optional to npm,
# fetches it in its own install script.
FROM base AS packages
RUN npm ci --omit=dev --omit=optional --no-audit --no-fund

FROM node:24-slim
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000
WORKDIR /app
# Owned by root: the service cannot change its own code.
COPY --from=packages /app/node_modules node_modules
COPY --from=client /app/src/generated src/generated
COPY package.json tsconfig.json ./
COPY prisma prisma
COPY scripts scripts
COPY src src
COPY workers workers
USER node
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.OPS_PORT || process.env.PORT}/readyz`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# As scripts/node-flags.mjs has it.
CMD ["node", "--max-semi-space-size=64", "--import", "tsx", "src/server.ts"]
