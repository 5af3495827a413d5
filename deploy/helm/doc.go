// Package helm tests the chart of deploy/chart with Helm's own library, and makes deploy/kustomize/base from it. It is
// a module of its own, so that pcapsule does not depend on Helm.
package helm
