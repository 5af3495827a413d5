package main

import (
	"bytes"
	"crypto/sha256"
	"debug/macho"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// Numbers of a code signature, from Apple's cs_blobs.h. All are big-endian in the file.
const (
	loadCodeSignature = 0x1d       // LC_CODE_SIGNATURE
	magicSuperBlob    = 0xfade0cc0 // CSMAGIC_EMBEDDED_SIGNATURE
	magicDirectory    = 0xfade0c02 // CSMAGIC_CODEDIRECTORY
	flagAdHoc         = 0x2        // CS_ADHOC: signed by nobody
	hashSHA256        = 2          // CS_HASHTYPE_SHA256
)

// errUnsigned is a program without a code signature.
var errUnsigned = errors.New("no code signature")

// checkSignature checks the code signature of a program for macOS and returns the number of
// pages whose hashes it compared. Apple silicon starts nothing without a signature; on Intel,
// linkers write none.
func checkSignature(name string) (pages int, err error) {
	file, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	m, err := macho.NewFile(bytes.NewReader(file))
	if err != nil {
		return 0, err
	}
	for _, l := range m.Loads {
		raw := l.Raw()
		if len(raw) >= 16 && m.ByteOrder.Uint32(raw) == loadCodeSignature {
			offset, size := m.ByteOrder.Uint32(raw[8:]), m.ByteOrder.Uint32(raw[12:])
			if uint64(offset)+uint64(size) > uint64(len(file)) {
				return 0, fmt.Errorf("the signature is at %d to %d of %d bytes", offset, uint64(offset)+uint64(size), len(file))
			}
			return checkBlobs(file, file[offset:offset+size])
		}
	}
	return 0, errUnsigned
}

func checkBlobs(file, blob []byte) (int, error) {
	be := binary.BigEndian
	if len(blob) < 12 || be.Uint32(blob) != magicSuperBlob {
		return 0, errors.New("the code signature does not begin as one")
	}
	count := int(be.Uint32(blob[8:]))
	for i := range count {
		if 12+8*i+8 > len(blob) {
			return 0, errors.New("the code signature is cut short")
		}
		at := int(be.Uint32(blob[12+8*i+4:]))
		if at+44 > len(blob) {
			return 0, errors.New("the code signature is cut short")
		}
		if d := blob[at:]; be.Uint32(d) == magicDirectory {
			return checkDirectory(file, d)
		}
	}
	return 0, errors.New("the code signature has no code directory")
}

// checkDirectory compares the hash of every page with the directory's.
func checkDirectory(file, d []byte) (int, error) {
	be := binary.BigEndian
	flags, hashes, slots, limit := be.Uint32(d[12:]), int(be.Uint32(d[16:])), int(be.Uint32(d[28:])), int(be.Uint32(d[32:]))
	size, kind, page := int(d[36]), d[37], 1<<d[39]
	switch {
	case flags&flagAdHoc == 0:
		return 0, fmt.Errorf("flags %#x: want an ad-hoc signature", flags)
	case kind != hashSHA256 || size != sha256.Size:
		return 0, fmt.Errorf("hashes of type %d with %d bytes, want SHA-256", kind, size)
	case limit > len(file) || slots != (limit+page-1)/page || hashes+slots*size > len(d):
		return 0, fmt.Errorf("%d hashes of pages of %d bytes do not cover %d bytes", slots, page, limit)
	}
	for i := range slots {
		sum := sha256.Sum256(file[i*page : min((i+1)*page, limit)])
		if !bytes.Equal(sum[:], d[hashes+i*size:hashes+(i+1)*size]) {
			return i, fmt.Errorf("page %d is not as it was signed", i)
		}
	}
	return slots, nil
}
