package engine

/*
#include <stdint.h>
#include <stdlib.h>

void pcapsuleMask(void *info, void *input, void *output);
typedef void (*mask_function)(void *, void *, void *);
typedef void (*delete_cell)(void *);
*/
import "C"

import (
	"errors"
	"runtime/cgo"
	"unsafe"

	duckdb "github.com/duckdb/duckdb-go-bindings"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
	"github.com/pcapsule/pcapsule/forensics/redact"
)

// setMasks sets the masker of the views.
func (d *database) setMasks(m wire.Masks) error {
	p, err := redact.Parse([]byte(m.Policy))
	if err != nil {
		return err
	}
	d.masks.Store(newMasks(redact.NewMasker(p, p.Known(m.Values))))
	return nil
}

// addMask registers redact.Function for a text, a list of texts, and bytes.
func (d *database) addMask(c duckdb.Connection) error {
	text, bytes := duckdb.CreateLogicalType(duckdb.TypeVarchar), duckdb.CreateLogicalType(duckdb.TypeBlob)
	defer duckdb.DestroyLogicalType(&text)
	defer duckdb.DestroyLogicalType(&bytes)
	list := duckdb.CreateListType(text)
	defer duckdb.DestroyLogicalType(&list)
	set := duckdb.CreateScalarFunctionSet(redact.Function)
	defer duckdb.DestroyScalarFunctionSet(&set)
	// DuckDB frees the cell with the function. The handle stays as long as the process.
	for _, of := range []duckdb.LogicalType{text, list, bytes} {
		cell := C.malloc(C.size_t(unsafe.Sizeof(cgo.Handle(0))))
		*(*cgo.Handle)(cell) = cgo.NewHandle(d)
		f := duckdb.CreateScalarFunction()
		duckdb.ScalarFunctionSetName(f, redact.Function)
		for _, t := range []duckdb.LogicalType{text, text, of} {
			duckdb.ScalarFunctionAddParameter(f, t)
		}
		duckdb.ScalarFunctionSetReturnType(f, of)
		duckdb.ScalarFunctionSetSpecialHandling(f) // the name may be null
		duckdb.ScalarFunctionSetExtraInfo(f, cell, unsafe.Pointer(C.delete_cell(C.free)))
		duckdb.ScalarFunctionSetFunction(f, unsafe.Pointer(C.mask_function(C.pcapsuleMask)))
		state := duckdb.AddScalarFunctionToSet(set, f)
		duckdb.DestroyScalarFunction(&f)
		if state == duckdb.StateError {
			return errors.New("making the function that masks")
		}
	}
	if duckdb.RegisterScalarFunctionSet(c, set) == duckdb.StateError {
		return errors.New("registering the function that masks")
	}
	return nil
}

// pcapsuleMask masks the rows of a chunk. DuckDB calls it on its own threads, with flat
// vectors.
//
//export pcapsuleMask
func pcapsuleMask(info, input, output unsafe.Pointer) {
	f, chunk, out := duckdb.FunctionInfo{Ptr: info}, duckdb.DataChunk{Ptr: input}, duckdb.Vector{Ptr: output}
	d := (*(*cgo.Handle)(duckdb.ScalarFunctionGetExtraInfo(f))).Value().(*database)
	m := d.masks.Load()
	if m == nil {
		duckdb.ScalarFunctionSetError(f, "the secrets of the case are not known yet")
		return
	}
	call := maskCall{masks: m, memo: m.memos.Get().(*memo), n: int(duckdb.DataChunkGetSize(chunk)), out: out}
	defer m.memos.Put(call.memo)
	call.in = duckdb.DataChunkGetVector(chunk, 2)
	for i, to := range []*vector{&call.as, &call.name, &call.texts} {
		from := duckdb.DataChunkGetVector(chunk, duckdb.IdxT(i))
		to.data, to.valid = duckdb.VectorGetData(from), duckdb.VectorGetValidity(from)
	}
	t := duckdb.VectorGetColumnType(call.in)
	defer duckdb.DestroyLogicalType(&t)
	switch duckdb.GetTypeId(t) {
	case duckdb.TypeList:
		call.lists()
	case duckdb.TypeBlob:
		call.bytes = true
		call.each()
	default:
		call.each()
	}
}
