{{/* Prefix of every name. */}}
{{- define "fleet.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Labels that never change and select pods: (list $ "component"). */}}
{{- define "fleet.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride | trunc 63 }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* All labels: (list $ "component"). */}}
{{- define "fleet.labels" -}}
{{- $root := index . 0 -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{ include "fleet.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: hunyuan-fleet
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* An image of the fleet: (list $ "api"). */}}
{{- define "fleet.image" -}}
{{- $root := index . 0 -}}
{{- $image := $root.Values.image -}}
{{- if $image.registry }}{{ $image.registry }}/{{ end -}}
{{- index $image (index . 1) }}:{{ default $root.Chart.AppVersion $image.tag }}
{{- end -}}

{{/* A value as the text of a variable: lists separated by commas, whole numbers without a decimal point. */}}
{{- define "fleet.text" -}}
{{- if kindIs "slice" . -}}{{ join "," . }}
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}{{ printf "%.0f" . }}
{{- else -}}{{ . }}
{{- end -}}
{{- end -}}

{{/* Secret and key that hold the addresses of the database and the broker. */}}
{{- define "fleet.databaseSecret" -}}
{{- if .Values.database.existingSecret -}}{{ .Values.database.existingSecret }}
{{- else -}}{{ include "fleet.fullname" . }}-connections{{- end -}}
{{- end -}}
{{- define "fleet.databaseKey" -}}
{{- if .Values.database.existingSecret -}}{{ .Values.database.secretKey }}{{- else -}}database-url{{- end -}}
{{- end -}}
{{- define "fleet.brokerSecret" -}}
{{- if .Values.broker.existingSecret -}}{{ .Values.broker.existingSecret }}
{{- else -}}{{ include "fleet.fullname" . }}-connections{{- end -}}
{{- end -}}
{{- define "fleet.brokerKey" -}}
{{- if .Values.broker.existingSecret -}}{{ .Values.broker.secretKey }}{{- else -}}broker-url{{- end -}}
{{- end -}}

{{/* Whether the trial database is used; the API then migrates it at start. */}}
{{- define "fleet.trialDatabase" -}}
{{- if and .Values.trial.postgres.enabled (not .Values.database.url) (not .Values.database.existingSecret) -}}true{{- end -}}
{{- end -}}
{{- define "fleet.trialBroker" -}}
{{- if and .Values.trial.rabbitmq.enabled (not .Values.broker.url) (not .Values.broker.existingSecret) -}}true{{- end -}}
{{- end -}}
{{- define "fleet.trialRedis" -}}
{{- if and .Values.trial.redis.enabled (not .Values.redis.host) -}}true{{- end -}}
{{- end -}}

{{/* Secret variables that every process of the fleet gets in addition to the ConfigMap. */}}
{{- define "fleet.secretEnv" -}}
- name: FLEET__DATABASE__URL
  valueFrom: {secretKeyRef: {name: {{ include "fleet.databaseSecret" . }}, key: {{ include "fleet.databaseKey" . }}}}
- name: FLEET__BROKER__URL
  valueFrom: {secretKeyRef: {name: {{ include "fleet.brokerSecret" . }}, key: {{ include "fleet.brokerKey" . }}}}
{{- with .Values.redis.existingSecret }}
- name: FLEET__REDIS__PASSWORD
  valueFrom: {secretKeyRef: {name: {{ . }}, key: {{ $.Values.redis.secretKey }}}}
{{- end }}
{{- with .Values.artifacts.s3.existingSecret }}
- name: FLEET__ARTIFACTS__S3_ACCESS_KEY_ID
  valueFrom: {secretKeyRef: {name: {{ . }}, key: {{ $.Values.artifacts.s3.accessKeyIdKey }}}}
- name: FLEET__ARTIFACTS__S3_SECRET_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ . }}, key: {{ $.Values.artifacts.s3.secretAccessKeyKey }}}}
{{- end }}
{{- end -}}

{{/* Common beginning of the pod specs. */}}
{{- define "fleet.pod" -}}
serviceAccountName: {{ include "fleet.fullname" . }}
automountServiceAccountToken: false
# Kubernetes would set REDIS_PORT=tcp://... for a service of the name "redis".
enableServiceLinks: false
securityContext: {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Volumes and mounts for videos and scratch files. */}}
{{- define "fleet.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: {{ default "1Gi" .scratch }}}
{{- if not .root.Values.artifacts.url }}
- name: videos
  persistentVolumeClaim:
    claimName: {{ default (printf "%s-videos" (include "fleet.fullname" .root)) .root.Values.artifacts.volume.existingClaim }}
{{- end }}
{{- end -}}
{{- define "fleet.mounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if not .Values.artifacts.url }}
- {name: videos, mountPath: /var/lib/fleet/artifacts}
{{- end }}
{{- end -}}

{{/* Manifests of models that are not in the image, for API and scheduler. */}}
{{- define "fleet.mountedModels" -}}
{{- $names := list -}}
{{- range $name, $model := .Values.models }}{{ if not $model.embedded }}{{ $names = append $names $name }}{{ end }}{{ end -}}
{{- join "," $names -}}
{{- end -}}
{{- define "fleet.manifestVolumes" -}}
{{- if include "fleet.mountedModels" . }}
- name: manifests
  configMap:
    name: {{ include "fleet.fullname" . }}-models
{{- end }}
{{- end -}}
{{- define "fleet.manifestMounts" -}}
{{- range $name, $model := .Values.models }}
{{- if not $model.embedded }}
- {name: manifests, mountPath: /models/{{ $name }}/fleet.toml, subPath: {{ $name }}.toml, readOnly: true}
{{- end }}
{{- end }}
{{- end -}}

{{/* A pool with the defaults filled in: (list $ pool). */}}
{{- define "fleet.pool" -}}
{{- toYaml (mergeOverwrite (deepCopy (index . 0).Values.workerDefaults) (deepCopy (default dict (index . 1)))) -}}
{{- end -}}

{{/*
How many workers a model needs: each worker that has a job, plus one for each `secondsPerWorker` estimated seconds of waiting
work. Each part reads one partial index, so a long history costs nothing.
*/}}
{{- define "fleet.workQuery" -}}
{{- if .query -}}{{ .query }}{{- else -}}
WITH waiting AS (
SELECT estimate_s FROM jobs WHERE status = 'scheduled' AND model_id = '{{ .model }}'
UNION ALL
SELECT estimate_s FROM jobs WHERE status = 'queued' AND plan IS NOT NULL AND model_id = '{{ .model }}' AND (not_before IS NULL OR not_before <= clock_timestamp())
UNION ALL
SELECT NULL FROM jobs WHERE status = 'queued' AND plan IS NULL AND model_id = '{{ .model }}'
)
SELECT (SELECT count(DISTINCT worker_id) FROM jobs WHERE status = 'running' AND model_id = '{{ .model }}')
+ (SELECT ceil(coalesce(sum(coalesce(estimate_s, {{ .seconds }})), 0) / {{ .seconds }})::bigint FROM waiting)
{{- end -}}
{{- end -}}
