{{- /* image: (list . "name") */ -}}
{{- define "pcapsule.image" -}}
{{- $root := index . 0 }}{{ $name := index . 1 }}
{{- if regexMatch "[/:@]" $name }}{{ $name }}{{ else }}
{{- with $root.Values.image.registry }}{{ . }}/{{ end }}{{ $name }}:{{ default $root.Chart.AppVersion $root.Values.image.tag }}
{{- end }}
{{- end }}

{{- /* claim: of the hub's data; empty without one */ -}}
{{- define "pcapsule.claim" -}}
{{- with .Values.hub.storage }}{{ if or .size .existingClaim }}{{ default "pcapsule-hub" .existingClaim }}{{ end }}{{ end }}
{{- end }}

{{- /* jobs: not empty if Jobs make bundles. They need the hub's data, and so a claim */ -}}
{{- define "pcapsule.jobs" -}}
{{- $jobs := default dict .Values.hub.jobs }}
{{- if and (include "pcapsule.claim" .) (ne (toString (default 0 $jobs.threshold)) "0") }}yes{{ end }}
{{- end }}
