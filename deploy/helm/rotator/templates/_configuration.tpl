{{/* What the configuration says of Kubernetes: key sets, and the objects that they read and write. */}}

{{- define "rotator.configName" -}}
{{- default (include "rotator.fullname" .) (default .Values.existingConfig.configMap .Values.existingConfig.secret) -}}
{{- end -}}

{{- define "rotator.configKey" -}}
{{- ternary "rotator.json" .Values.existingConfig.key (not (empty .Values.config)) -}}
{{- end -}}

{{/* The volume with the configuration. Of: root, name (of the ConfigMap that the chart makes). */}}
{{- define "rotator.configVolume" -}}
name: configuration
{{- if .root.Values.existingConfig.secret }}
secret:
  secretName: {{ .root.Values.existingConfig.secret }}
  defaultMode: 0440
{{- else }}
configMap:
  name: {{ default .name .root.Values.existingConfig.configMap }}
{{- end }}
{{- end -}}

{{/* JSON: every object that the key sets have in this cluster: [{resource, namespace, name}]. */}}
{{- define "rotator.targets" -}}
{{- $here := .Release.Namespace -}}
{{- $found := list -}}
{{- range $set := .Values.config.key_sets -}}
  {{- range $set.deliver -}}
    {{- if and (eq .to "secret") (not .kubeconfig) (not .context) -}}
      {{- $there := default $here .namespace -}}
      {{- $found = append $found (dict "resource" "secrets" "namespace" $there "name" .name) -}}
      {{- range .restart -}}
        {{- $parts := splitList "/" . -}}
        {{- $found = append $found (dict "resource" (printf "%ss" (first $parts)) "namespace" $there "name" (last $parts)) -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
  {{- range $set.publish -}}
    {{- if and (eq .to "configmap") (not .kubeconfig) (not .context) -}}
      {{- $found = append $found (dict "resource" "configmaps" "namespace" (default $here .namespace) "name" .name) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- range .Values.keySets -}}
  {{- range .secrets -}}
    {{- $found = append $found (dict "resource" "secrets" "namespace" $here "name" .) -}}
  {{- end -}}
  {{- with .configMap -}}
    {{- $found = append $found (dict "resource" "configmaps" "namespace" $here "name" .) -}}
  {{- end -}}
  {{- range .workloads -}}
    {{- $parts := splitList "/" . -}}
    {{- $found = append $found (dict "resource" (printf "%ss" (first $parts)) "namespace" $here "name" (last $parts)) -}}
  {{- end -}}
{{- end -}}
{{- $found | uniq | toJson -}}
{{- end -}}

{{/* JSON: the names of the key sets. */}}
{{- define "rotator.keySets" -}}
{{- $names := list -}}
{{- range $name, $set := .Values.config.key_sets -}}
  {{- $names = append $names $name -}}
{{- end -}}
{{- range .Values.keySets -}}
  {{- $names = append $names .name -}}
{{- end -}}
{{- $names | toJson -}}
{{- end -}}

{{/* JSON: what the edge serves: [{name, configMap, key}]; HMAC key sets have no JWKS. */}}
{{- define "rotator.edgeSets" -}}
{{- $here := .Release.Namespace -}}
{{- $found := list -}}
{{- range $name, $set := .Values.config.key_sets -}}
  {{- $algorithm := default (default "RS256" (($.Values.config).defaults).algorithm) $set.algorithm -}}
  {{- if not (hasPrefix "HS" (upper $algorithm)) -}}
    {{- $mounted := list -}}
    {{- range $set.publish -}}
      {{- if and (eq .to "configmap") (eq (default $here .namespace) $here) (not .kubeconfig) (not .context) -}}
        {{- $mounted = append $mounted (dict "name" $name "configMap" .name "key" (default "jwks.json" .key)) -}}
      {{- end -}}
    {{- end -}}
    {{- if not $mounted -}}
      {{- fail (printf "edge.enabled: key set %s publishes to no ConfigMap of namespace %s that the edge could serve: add `publish: [{to: configmap, name: %s-jwks}]` to it, or set edge.enabled to false" $name $here $name) -}}
    {{- end -}}
    {{- $found = append $found (first $mounted) -}}
  {{- end -}}
{{- end -}}
{{- range .Values.keySets -}}
  {{- if .configMap -}}
    {{- $found = append $found (dict "name" .name "configMap" .configMap "key" (default "jwks.json" .configMapKey)) -}}
  {{- end -}}
{{- end -}}
{{- if and .Values.keySets (not $found) -}}
  {{- fail "edge.enabled: no key set of keySets names the ConfigMap that the edge should serve: add `configMap: NAME` to it, or set edge.enabled to false" -}}
{{- end -}}
{{- $found | toJson -}}
{{- end -}}

{{/* Probes at this release's own edge have no answer before it is there: the first run leaves them out, by its environment. */}}
{{- define "rotator.firstRunProbes" -}}
{{- $edge := printf "^https?://%s-edge([.:/]|$)" (include "rotator.fullname" .) -}}
{{- if .Values.edge.enabled -}}
{{- range $name, $set := .Values.config.key_sets -}}
  {{- $others := list -}}
  {{- range $set.probes -}}
    {{- $url := . -}}
    {{- if kindIs "map" . -}}{{- $url = .url -}}{{- end -}}
    {{- if not (regexMatch $edge $url) -}}{{- $others = append $others . -}}{{- end -}}
  {{- end -}}
  {{- if ne (len $others) (len (default list $set.probes)) }}
- name: ROTATOR__KEY_SETS__{{ $name | upper | replace "-" "_" | replace "." "_" }}__PROBES
  value: {{ $others | toJson | quote }}
  {{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What the schema cannot see. */}}
{{- define "rotator.validate" -}}
{{- range include "rotator.targets" . | fromJsonArray -}}
  {{- if and $.Values.edge.enabled (eq .resource "configmaps") (eq .name (include "rotator.fullname" $)) -}}
    {{- fail (printf "the ConfigMap %s of a key set has the name of the chart's own: choose another, such as %s-jwks" .name .name) -}}
  {{- end -}}
{{- end -}}
{{- if not (include "rotator.keySets" . | fromJsonArray) -}}
  {{- fail "config has no `key_sets`: there is nothing to rotate" -}}
{{- end -}}
{{- $said := printf "%s %s" (toJson .Values.config) (toJson .Values.extraEnv) | lower -}}
{{- if and (eq .Values.mode "cronjob") .Values.config (regexMatch "^(\\*/([6-9]|[1-9][0-9])|[0-9]+) " .Values.cronjob.schedule) (not (contains "resync" $said)) -}}
  {{- fail (printf "cronjob.schedule `%s` is rarer than `resync` (5m), with which the timing contract counts: raise both, with config.defaults.policy.resync (such as 15m for `*/15 * * * *`)" .Values.cronjob.schedule) -}}
{{- end -}}
{{- end -}}
