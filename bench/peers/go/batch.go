package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"net/http"
)

const (
	maxMember      = 65_536
	maxInflated    = 1 << 20
	headerBytes    = 9
	landmarkBytes  = 33 * 4 * 4
	frameBytes     = landmarkBytes + 4
	firstInflated  = 16 << 10
	versionSpoken  = 1
	timestampBytes = 4
	flagsAt        = 3
	reservedFlags  = 0xe0
)

var errTooLarge = &refusal{http.StatusRequestEntityTooLarge, "body_too_large"}

// batch is valid until the inflater that made it decodes the next one.
type batch struct {
	frames    int
	landmarks []byte
}

// inflater holds what the decoding of a batch needs, to be used again and again.
type inflater struct {
	source  bytes.Reader
	gzip    gzip.Reader
	payload []byte
}

// decode takes exactly one gzip member, with nothing behind it, of a well-formed block.
func (d *inflater) decode(member []byte) (batch, error) {
	payload, err := d.inflate(member)
	if err != nil {
		return batch{}, err
	}
	if len(payload) < headerBytes {
		return batch{}, malformed("header_truncated")
	}
	if payload[0] != versionSpoken {
		return batch{}, malformed("version_unsupported")
	}
	frames := int64(binary.LittleEndian.Uint32(payload[1:]))
	if frames == 0 {
		return batch{}, malformed("frame_count_zero")
	}
	if int64(len(payload)) != headerBytes+frames*frameBytes {
		return batch{}, malformed("length_mismatch")
	}
	end := headerBytes + frames*landmarkBytes
	times := payload[end:]
	last := uint32(0)
	for len(times) >= timestampBytes {
		now := binary.LittleEndian.Uint32(times)
		if now < last {
			return batch{}, malformed("timestamps_backwards")
		}
		last, times = now, times[timestampBytes:]
	}
	return batch{int(frames), payload[headerBytes:end]}, nil
}

func (d *inflater) inflate(member []byte) ([]byte, error) {
	// compress/gzip passes over flags that RFC 1952 reserves, and that zlib refuses.
	if len(member) > flagsAt && member[flagsAt]&reservedFlags != 0 {
		return nil, malformed("gzip_corrupt")
	}
	// A bytes.Reader gives single bytes, so the inflater takes none that are not the member's.
	d.source.Reset(member)
	if d.gzip.Reset(&d.source) != nil {
		return nil, malformed("not_gzip")
	}
	d.gzip.Multistream(false)
	if d.payload == nil {
		d.payload = make([]byte, firstInflated)
	}
	size := 0
	for {
		n, err := d.gzip.Read(d.payload[size:])
		size += n
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, malformed("gzip_corrupt")
		}
		if size > maxInflated {
			return nil, &refusal{http.StatusRequestEntityTooLarge, "inflated_too_large"}
		}
		if size == len(d.payload) {
			d.payload = append(d.payload, make([]byte, size)...)
		}
	}
	if size > maxInflated {
		return nil, &refusal{http.StatusRequestEntityTooLarge, "inflated_too_large"}
	}
	if d.source.Len() > 0 {
		return nil, malformed("trailing_bytes")
	}
	return d.payload[:size], nil
}

func malformed(code string) error {
	return &refusal{http.StatusBadRequest, code}
}
