"""Checks of everything that deploys the fleet: docker-compose.yml, docker/Dockerfile, .env.example and the chart in helm/.

Nothing here needs a Docker engine or a cluster: the real Compose, Helm and hadolint read the files, the schemas of
Kubernetes and of the operators judge what Helm renders, and our own executables are started with the very settings that
the containers get.

Reading order: `tools` what is fetched, `compose`, `dockerfile`, `chart`, `live` with real processes.
"""
