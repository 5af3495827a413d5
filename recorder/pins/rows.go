package pins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/rows"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// errNoRows is the answer of a recorder that was started without a folder for rows.
var errNoRows = errors.New("this node sends no rows: its recorder was started without --rows")

// Rows is the newest cut of the program that dissects on the node.
type Rows struct {
	Node string    `json:"node"`
	Now  ring.Time `json:"now"` // the node's clock
	Cut  *rows.Cut `json:"cut"`
}

// ServeRows makes the handler serve the rows that another program leaves in a folder.
func (s *Store) ServeRows(dir string) { s.rows = dir }

// Rows reads the newest cut, and marks that a client requested it.
func (s *Store) Rows() (*Rows, error) {
	if s.rows == "" {
		return nil, errNoRows
	}
	if err := rows.Want(s.rows); err != nil {
		return nil, err
	}
	c, err := rows.Read(s.rows)
	if err != nil {
		return nil, err
	}
	return &Rows{Node: s.node, Now: ring.Time(time.Now().UnixNano()), Cut: c}, nil
}

// listRows answers with the newest cut, without files if the client has it.
func (s *Store) listRows(w http.ResponseWriter, r *http.Request) {
	list, err := s.Rows()
	if err == nil {
		list.Cut.Earlier = nil
		if r.FormValue("run") == list.Cut.Run && r.FormValue("no") == strconv.FormatInt(list.Cut.No, 10) {
			list.Cut.Files, list.Cut.State = nil, nil
		}
	}
	answer(w, list, err)
}

// rowsFile answers with a set.
func (s *Store) rowsFile(w http.ResponseWriter, r *http.Request) {
	list, err := s.Rows()
	if err != nil {
		answer(w, nil, err)
		return
	}
	f, ok := list.Cut.Find(r.PathValue("name"))
	if !ok {
		http.Error(w, "the newest cuts have no such set", http.StatusNotFound)
		return
	}
	transfer.Serve(w, r, s.rows, f)
}

// Rows requests the newest cut. It has no files if it is the one that the client has.
func (c *Client) Rows(ctx context.Context, run string, no int64) (*Rows, error) {
	var v Rows
	query := url.Values{"run": {run}, "no": {strconv.FormatInt(no, 10)}}
	err := c.get(ctx, "v1/rows", query, func(r io.Reader) error {
		return json.NewDecoder(io.LimitReader(r, rows.MaxCut)).Decode(&v)
	})
	if err == nil && v.Cut == nil {
		err = errors.New("the node answered without a cut")
	}
	if err == nil {
		err = v.Cut.Check()
	}
	if err != nil {
		return nil, fmt.Errorf("listing rows: %w", err)
	}
	return &v, nil
}

// RowsFiles returns the source of the sets.
func (c *Client) RowsFiles() transfer.Source {
	return transfer.Web{Base: c.URL.JoinPath("v1/rows"), Client: c.HTTP}
}
