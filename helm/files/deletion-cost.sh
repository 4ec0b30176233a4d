#!/bin/sh
# Reports to Kubernetes whether this pod's worker has a job: a ReplicaSet removes pods with a lower cost first when it scales
# down. This is only a hint; a busy pod that is removed anyway hands its job back. Runs next to the worker; needs curl.
#
# METRICS_URL  the worker's metrics       POD_URL      this pod in the cluster's API
# CREDENTIALS  folder of token and ca.crt EVERY_S      seconds between two checks
set -u
reported=
trap 'exit 0' TERM INT

while :; do
  # One slot in use: fleet_slots{state="used"} 1. A worker that is still loading has no metrics yet and no job.
  used=$(curl -fsS --max-time 3 "$METRICS_URL" 2>/dev/null | sed -n 's/^fleet_slots{[^}]*state="used"[^}]*} //p')
  case "$used" in "" | 0 | 0.0) cost=0 ;; *) cost=1000 ;; esac
  # Report changes only, to keep load off the cluster's API.
  if [ "$cost" != "$reported" ]; then
    patch="{\"metadata\":{\"annotations\":{\"controller.kubernetes.io/pod-deletion-cost\":\"$cost\"}}}"
    if curl -fsS --max-time 5 -o /dev/null -X PATCH --cacert "$CREDENTIALS/ca.crt" \
      -H "Authorization: Bearer $(cat "$CREDENTIALS/token")" -H "Content-Type: application/strategic-merge-patch+json" \
      -d "$patch" "$POD_URL"; then
      reported=$cost
      echo "pod-deletion-cost $cost"
    fi
  fi
  sleep "$EVERY_S" &
  wait $!
done
