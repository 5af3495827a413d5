{{- /* image: (list . "name") */ -}}
{{- define "pcapsule.image" -}}
{{- $root := index . 0 }}{{ $name := index . 1 }}
{{- if regexMatch "[/:@]" $name }}{{ $name }}{{ else }}
{{- with $root.Values.image.registry }}{{ . }}/{{ end }}{{ $name }}:{{ default $root.Chart.AppVersion $root.Values.image.tag }}
{{- end }}
{{- end }}
