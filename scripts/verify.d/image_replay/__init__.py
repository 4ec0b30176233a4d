"""Builds docker/Dockerfile without Docker, and runs what comes out.

Each stage is a folder. A base image is stood in for by a Debian of the same release, made by debootstrap, with this
machine's Rust or a fetched Node where the image would bring one. RUN is a shell in a chroot of the folder, with the cache
mounts bound; COPY takes committed files that .dockerignore lets through. The finished images are then started as Compose would:
as their own user, first process of a PID namespace, root file system read-only, with the variables of docker-compose.yml,
on services beside them; then they are asked what docs/docker.md says to ask.

It shows that every instruction works, that what one stage wants another has, that images hold everything which their
processes need, and that these take SIGTERM. It does not show that the pinned base images are to be had, that BuildKit
reads the file as we do, or that Docker's own isolation suits us. The stage `libtorch-gpu` is several GB and is built only with
REPLAY_GPU=1; its image needs a GPU and is never started.

Reading order: `bases`, `sandbox`, `stages`, `commands`, `fleet`.
"""
