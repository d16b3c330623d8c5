{{/* Pods. All of them pass the restricted Pod Security Standard. */}}

{{/* Of: root. */}}
{{- define "rotator.podSecurity" -}}
runAsNonRoot: true
{{- if .root.Values.runAsUser }}
runAsUser: {{ .root.Values.runAsUser }}
runAsGroup: {{ .root.Values.runAsUser }}
fsGroup: {{ .root.Values.runAsUser }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "rotator.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Where a pod may run. Of: root, component. */}}
{{- define "rotator.placement" -}}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
{{- if .root.Values.topologySpreadConstraints }}
{{- range .root.Values.topologySpreadConstraints }}
  - {{- mergeOverwrite (dict "labelSelector" (dict "matchLabels" (include "rotator.selector" $ | fromYaml))) . | toYaml | nindent 4 }}
{{- end }}
{{- else }}
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "rotator.selector" . | nindent 8 }}
{{- end }}
{{- end -}}

{{/*
A pod that rotates. Of: root, component, account, config (name of the ConfigMap), args, env (text), resources, restart,
grace, serving (whether it is the daemon).
*/}}
{{- define "rotator.rotatingPod" -}}
{{- $values := .root.Values -}}
serviceAccountName: {{ .account }}
automountServiceAccountToken: true
enableServiceLinks: false
restartPolicy: {{ .restart }}
terminationGracePeriodSeconds: {{ .grace }}
securityContext: {{- include "rotator.podSecurity" . | nindent 2 }}
{{- with $values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{ include "rotator.placement" . }}
containers:
  - name: rotator
    image: {{ include "rotator.image" .root }}
    imagePullPolicy: {{ $values.image.pullPolicy }}
    command: [rotator]
    args: {{- toYaml .args | nindent 6 }}
    env:
      - name: ROTATOR_CONFIG
        value: /etc/rotator/{{ include "rotator.configKey" .root }}
      - name: ROTATOR__STATE_DIR
        value: /var/lib/rotator
      # The first key is made by the operator's word only: a ring that is gone must not look like a first run.
      - name: ROTATOR__DEFAULTS__FIRST_RUN
        value: operator
      {{- .env | nindent 6 }}
      {{- with $values.extraEnv }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- with $values.extraEnvFrom }}
    envFrom: {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- if .serving }}
    ports:
      - name: admin
        containerPort: {{ $values.daemon.adminPort }}
    startupProbe:
      httpGet: {path: /healthz, port: admin}
      periodSeconds: 2
      failureThreshold: 60
    livenessProbe:
      httpGet: {path: /healthz, port: admin}
      periodSeconds: 20
      timeoutSeconds: 5
      failureThreshold: 6
    readinessProbe:
      httpGet: {path: /readyz, port: admin}
      periodSeconds: 10
      timeoutSeconds: 5
    {{- end }}
    resources: {{- toYaml .resources | nindent 6 }}
    securityContext: {{- include "rotator.containerSecurity" . | nindent 6 }}
    volumeMounts:
      - name: configuration
        mountPath: /etc/rotator
        readOnly: true
      - name: state
        mountPath: /var/lib/rotator
      - name: tmp
        mountPath: /tmp
      {{- if $values.persistence.enabled }}
      - name: store
        mountPath: {{ $values.persistence.mountPath }}
      {{- end }}
      {{- range $values.projectedTokens }}
      - name: token-{{ .name }}
        mountPath: /var/run/secrets/rotator/{{ .name }}
        readOnly: true
      {{- end }}
      {{- with $values.extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
volumes:
  - {{- include "rotator.configVolume" (dict "root" .root "name" .config) | nindent 4 }}
  - name: state
    emptyDir: {}
  - name: tmp
    emptyDir: {}
  {{- if $values.persistence.enabled }}
  - name: store
    persistentVolumeClaim:
      claimName: {{ default (printf "%s-store" (include "rotator.fullname" .root)) $values.persistence.existingClaim }}
  {{- end }}
  {{- range $values.projectedTokens }}
  - name: token-{{ .name }}
    projected:
      sources:
        - serviceAccountToken:
            path: token
            audience: {{ .audience }}
            expirationSeconds: {{ default 3600 .expirationSeconds | int }}
  {{- end }}
  {{- with $values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* What its account may do: each object by its name. Of: root, namespace. */}}
{{- define "rotator.rules" -}}
{{- $verbs := dict "secrets" (list "get" "patch") "configmaps" (list "get" "patch") -}}
{{- range $resource := list "secrets" "configmaps" "deployments" "statefulsets" "daemonsets" }}
{{- $names := list -}}
{{- range include "rotator.targets" $.root | fromJsonArray -}}
  {{- if and (eq .resource $resource) (eq .namespace $.namespace) -}}
    {{- $names = append $names .name -}}
  {{- end -}}
{{- end -}}
{{- if $names }}
- apiGroups: [{{ ternary "\"\"" "apps" (hasKey $verbs $resource) }}]
  resources: [{{ $resource }}]
  resourceNames: {{ $names | uniq | sortAlpha | toJson }}
  verbs: {{ default (list "patch") (get $verbs $resource) | toJson }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Role and RoleBinding in each namespace where there are objects. Of: root, name, account, annotations (text). */}}
{{- define "rotator.rbac" -}}
{{- $namespaces := list -}}
{{- range include "rotator.targets" .root | fromJsonArray -}}
  {{- $namespaces = append $namespaces .namespace -}}
{{- end -}}
{{- range $namespace := $namespaces | uniq | sortAlpha }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ $.name }}
  namespace: {{ $namespace }}
  labels: {{- include "rotator.labels" $ | nindent 4 }}
  {{- with $.annotations }}
  annotations: {{- . | nindent 4 }}
  {{- end }}
rules:
  {{- include "rotator.rules" (dict "root" $.root "namespace" $namespace) | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $.name }}
  namespace: {{ $namespace }}
  labels: {{- include "rotator.labels" $ | nindent 4 }}
  {{- with $.annotations }}
  annotations: {{- . | nindent 4 }}
  {{- end }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ $.name }}
subjects:
  - kind: ServiceAccount
    name: {{ $.account }}
    namespace: {{ $.root.Release.Namespace }}
{{- end }}
{{- end -}}
