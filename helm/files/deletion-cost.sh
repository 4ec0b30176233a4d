#!/bin/sh
# Tells Kubernetes whether this pod's worker has a job: a ReplicaSet that shrinks removes pods of lower cost first. A hint,
# no promise: a busy pod that is removed all the same hands its job back. Runs beside the worker; needs curl.
#
# METRICS_URL  the worker's metrics       POD_URL      this pod in the cluster's API
# CREDENTIALS  folder of token and ca.crt EVERY_S      seconds between two looks
set -u
told=
trap 'exit 0' TERM INT

while :; do
  # One slot in use: fleet_slots{state="used"} 1. A worker that is still loading answers nothing and has no job.
  used=$(curl -fsS --max-time 3 "$METRICS_URL" 2>/dev/null | sed -n 's/^fleet_slots{[^}]*state="used"[^}]*} //p')
  case "$used" in "" | 0 | 0.0) cost=0 ;; *) cost=1000 ;; esac
  # Only changes are told: the cluster's API is no place for a heartbeat.
  if [ "$cost" != "$told" ]; then
    patch="{\"metadata\":{\"annotations\":{\"controller.kubernetes.io/pod-deletion-cost\":\"$cost\"}}}"
    if curl -fsS --max-time 5 -o /dev/null -X PATCH --cacert "$CREDENTIALS/ca.crt" \
      -H "Authorization: Bearer $(cat "$CREDENTIALS/token")" -H "Content-Type: application/strategic-merge-patch+json" \
      -d "$patch" "$POD_URL"; then
      told=$cost
      echo "pod-deletion-cost $cost"
    fi
  fi
  sleep "$EVERY_S" &
  wait $!
done
