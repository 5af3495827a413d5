module github.com/pcapsule/pcapsule/exporter/bundle/bagcheck

go 1.26.0

require github.com/nyudlts/go-bagit v0.3.0-alpha
