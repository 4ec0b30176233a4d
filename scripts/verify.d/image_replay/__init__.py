"""Builds docker/Dockerfile without Docker, and runs what comes out.

buildah builds each target. A local Debian of the same release stands in for the base images, with this machine's Rust or a
fetched Node where the image would bring one. The finished images are then started as Compose would: as their own user, first
process of a PID namespace, root file system read-only, with the variables of docker-compose.yml, on services beside them; then
the commands of docs/docker.md are run on them.

It shows that every instruction works, that stages provide what others copy, that images hold everything which their
processes need, and that these take SIGTERM. It does not show that the pinned base images are to be had, or that Docker's own
isolation suits us. The stage `libtorch-gpu` is several GB and is built only with REPLAY_GPU=1; its image needs a GPU and is
never started.

Reading order: `bases`, `sandbox`, `images`, `commands`, `fleet`.
"""
