package pins

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/rows"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// window is the body of a request for a pin.
type window struct {
	From ring.Time `json:"from"`
	To   ring.Time `json:"to"`
}

// Handler serves the pins:
//
//	GET    /v1/coverage                what the node has recorded
//	PUT    /v1/pins/NAME               pin {"from": TIME, "to": TIME}; repeating it returns the pin
//	GET    /v1/pins/NAME               the pin with its files
//	DELETE /v1/pins/NAME               release it
//	GET    /v1/pins/NAME/files/FILE    a file, with If-Match and Range
//	GET    /v1/follow?since=TIME       the files of the ring that have changed since, also those being written
//	GET    /v1/follow/FILE?from=N&to=N their bytes between two offsets, up to 4 MiB
//	GET    /v1/rows?run=RUN&no=N       the newest cut of the program that dissects here; without files if it is cut N of RUN
//	GET    /v1/rows/FILE               a set of it, with If-Match and Range
//
// The caller decides who may make requests.
func (s *Store) Handler(log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/coverage", func(w http.ResponseWriter, _ *http.Request) {
		c, err := s.Coverage(time.Now())
		answer(w, c, err)
	})
	mux.HandleFunc("PUT /v1/pins/{name}", func(w http.ResponseWriter, r *http.Request) {
		var x window
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096))
		d.DisallowUnknownFields()
		if err := d.Decode(&x); err != nil {
			http.Error(w, "reading the window: "+err.Error(), http.StatusBadRequest)
			return
		}
		began := time.Now()
		p, err := s.Make(r.Context(), r.PathValue("name"), x.From, x.To)
		if err != nil {
			log.Error("pinning segments", "pin", r.PathValue("name"), "error", err)
		} else {
			log.Info("pinned segments", "pin", p.Name, "from", p.From, "to", p.To, "segments", p.Segments, "packets", p.Packets, "took", time.Since(began).Round(time.Millisecond))
		}
		answer(w, p, err)
	})
	mux.HandleFunc("GET /v1/pins/{name}", func(w http.ResponseWriter, r *http.Request) {
		p, err := s.Get(r.PathValue("name"))
		answer(w, p, err)
	})
	mux.HandleFunc("DELETE /v1/pins/{name}", func(w http.ResponseWriter, r *http.Request) {
		err := s.Release(r.PathValue("name"))
		log.Info("released segments", "pin", r.PathValue("name"), "error", err)
		answer(w, struct{}{}, err)
	})
	mux.HandleFunc("GET /v1/pins/{name}/files/{file...}", func(w http.ResponseWriter, r *http.Request) {
		p, err := s.Get(r.PathValue("name"))
		if err != nil {
			answer(w, nil, err)
			return
		}
		f, ok := transfer.Find(p.Files, r.PathValue("file"))
		if !ok {
			http.Error(w, "the pin has no such file", http.StatusNotFound)
			return
		}
		transfer.Serve(w, r, filepath.Join(s.dir, p.Name), f)
	})
	mux.HandleFunc("GET /v1/follow", func(w http.ResponseWriter, r *http.Request) {
		since, err := strconv.ParseInt(r.FormValue("since"), 10, 64)
		if err != nil {
			http.Error(w, "since: must be nanoseconds since 1970", http.StatusBadRequest)
			return
		}
		g, err := s.Growing(ring.Time(since))
		answer(w, g, err)
	})
	mux.HandleFunc("GET /v1/follow/{name}", s.grown)
	mux.HandleFunc("GET /v1/rows", s.listRows)
	mux.HandleFunc("GET /v1/rows/{name}", s.rowsFile)
	return mux
}

// answer writes a value as JSON, or an error with its status.
func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		http.Error(w, err.Error(), status(err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}

func status(err error) int {
	switch {
	case errors.Is(err, ErrName), errors.Is(err, ErrWindow):
		return http.StatusBadRequest
	case errors.Is(err, ErrNone), errors.Is(err, errNoRows):
		return http.StatusNotFound
	case errors.Is(err, ErrTaken):
		return http.StatusConflict
	case errors.Is(err, ErrMany):
		return http.StatusTooManyRequests
	case errors.Is(err, ring.ErrNotRing), errors.Is(err, fs.ErrNotExist), errors.Is(err, rows.ErrNone): // nothing has been recorded or dissected yet
		return http.StatusServiceUnavailable
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return http.StatusInsufficientStorage
	}
	return http.StatusInternalServerError
}
