{{- /* image: (list . "name") */ -}}
{{- define "pcapsule.image" -}}
{{- $root := index . 0 }}{{ $name := index . 1 }}
{{- if regexMatch "[/:@]" $name }}{{ $name }}{{ else }}
{{- with $root.Values.image.registry }}{{ . }}/{{ end }}{{ $name }}:{{ default $root.Chart.AppVersion $root.Values.image.tag }}
{{- end }}
{{- end }}

{{- /* size: of the claim that the chart makes; empty without one. A claim that is there keeps its size */ -}}
{{- define "pcapsule.size" -}}
{{- $storage := default dict .Values.hub.storage }}
{{- if ne (toString $storage.size) "auto" }}{{ $storage.size }}
{{- else if not $storage.existingClaim }}
{{- $there := lookup "v1" "PersistentVolumeClaim" .Release.Namespace "pcapsule-hub" }}
{{- $class := ternary "yes" "" (not (empty $storage.className)) }}
{{- if not (or $there $class) }}
{{- range (lookup "storage.k8s.io/v1" "StorageClass" "" "").items }}
{{- if eq (get (default dict .metadata.annotations) "storageclass.kubernetes.io/is-default-class") "true" }}{{ $class = "yes" }}{{ end }}
{{- end }}
{{- end }}
{{- if $there }}{{ $there.spec.resources.requests.storage }}{{ else if $class }}50Gi{{ end }}
{{- end }}
{{- end }}

{{- /* claim: of the hub's data; empty without one */ -}}
{{- define "pcapsule.claim" -}}
{{- $existing := (default dict .Values.hub.storage).existingClaim }}
{{- if $existing }}{{ $existing }}{{ else if include "pcapsule.size" . }}pcapsule-hub{{ end }}
{{- end }}

{{- /* jobs: not empty if Jobs make bundles. They need the hub's data, and so a claim */ -}}
{{- define "pcapsule.jobs" -}}
{{- $jobs := default dict .Values.hub.jobs }}
{{- if and (include "pcapsule.claim" .) (ne (toString (default 0 $jobs.threshold)) "0") }}yes{{ end }}
{{- end }}

{{- /* rows: not empty if nodes can send rows only */ -}}
{{- define "pcapsule.rows" -}}
{{- if and .Values.mcp.enabled .Values.live.enabled (default dict .Values.live.rows).enabled }}yes{{ end }}
{{- end }}

{{- /* select: the schema of a selection of pods and connections, the same in all resources */ -}}
{{- define "pcapsule.select" -}}
type: object
properties:
  namespaces:
    description: Of pods.
    type: array
    maxItems: 100
    x-kubernetes-list-type: set
    items: {type: string, maxLength: 63, pattern: '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$'}
  workloads:
    description: 'Pods, by their name or by that of their owner: NAMESPACE/NAME or NAMESPACE/KIND/NAME.'
    type: array
    maxItems: 100
    x-kubernetes-list-type: set
    items: {type: string, maxLength: 400, pattern: '^[a-z0-9]([a-z0-9-]*[a-z0-9])?/([A-Za-z]+/)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$'}
  labels: {description: 'Of pods, as for kubectl --selector: app=web,tier in (a, b).', type: string, maxLength: 1024}
  filter: {description: 'Whole connections that have a packet that matches, in the syntax of tcpdump.', type: string, maxLength: 4096}
  kfl: {description: 'Connections that have a call that matches. Readers apply it when they fetch.', type: string, maxLength: 4096}
{{- end }}
