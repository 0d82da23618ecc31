package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	posePath     = "/v1/pose/frames"
	settlePath   = "/settle"
	octetStream  = "application/octet-stream"
	answerLength = 160
)

// Headers as net/http keeps them, made once: setting them costs no allocation.
var (
	jsonType    = []string{"application/json"}
	problemType = []string{"application/problem+json"}
)

// refusal is an answer other than 202; its code says why.
type refusal struct {
	status int
	code   string
}

func (r *refusal) Error() string { return r.code }

type poseRoute struct {
	tokens   *tokens
	sessions *sessions
}

// scratch is what one request needs for itself.
type scratch struct {
	body     []byte
	answer   []byte
	inflater inflater
}

var scratches = sync.Pool{New: func() any {
	return &scratch{body: make([]byte, maxMember+1), answer: make([]byte, 0, answerLength)}
}}

func (p *poseRoute) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == posePath && r.Method == http.MethodPost:
		p.servePose(w, r)
	case r.URL.Path == settlePath && r.Method == http.MethodPost:
		p.serveSettle(w, r)
	case r.URL.Path == posePath || r.URL.Path == settlePath:
		refuse(w, &refusal{http.StatusMethodNotAllowed, "method_not_allowed"})
	default:
		refuse(w, &refusal{http.StatusNotFound, "not_found"})
	}
}

func (p *poseRoute) servePose(w http.ResponseWriter, r *http.Request) {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	session, frames, position, err := p.take(r, s)
	if err != nil {
		refuse(w, err)
		return
	}
	answer := append(s.answer[:0], `{"frames_accepted":`...)
	answer = strconv.AppendInt(answer, int64(frames), 10)
	answer = append(answer, `,"session_id":"`...)
	answer = append(answer, session.id...)
	answer = append(answer, `","buffer_position_bytes":`...)
	answer = strconv.AppendInt(answer, position, 10)
	s.answer = append(answer, '}')
	w.Header()["Content-Type"] = jsonType
	w.WriteHeader(http.StatusAccepted)
	w.Write(s.answer)
}

func (p *poseRoute) take(r *http.Request, s *scratch) (*session, int, int64, error) {
	now := time.Now()
	session, err := p.tokens.verify(firstOf(r.Header, "Authorization"), now)
	if err != nil {
		return nil, 0, 0, err
	}
	if r.ContentLength > maxMember {
		return nil, 0, 0, errTooLarge
	}
	if !isOctetStream(firstOf(r.Header, "Content-Type")) {
		return nil, 0, 0, &refusal{http.StatusUnsupportedMediaType, "unsupported_media_type"}
	}
	member, err := readBody(r, s.body)
	if err != nil {
		return nil, 0, 0, err
	}
	batch, err := s.inflater.decode(member)
	if err != nil {
		return nil, 0, 0, err
	}
	position, err := p.sessions.take(session, member, batch, now)
	return session, batch.frames, position, err
}

// readBody reads into the buffer, which is one byte longer than a body may be.
func readBody(r *http.Request, buffer []byte) ([]byte, error) {
	if r.ContentLength >= 0 {
		body := buffer[:r.ContentLength]
		if _, err := io.ReadFull(r.Body, body); err != nil {
			return nil, &refusal{http.StatusBadRequest, "request_malformed"}
		}
		return body, nil
	}
	switch n, err := io.ReadFull(r.Body, buffer); err {
	case nil:
		return nil, errTooLarge
	case io.EOF, io.ErrUnexpectedEOF:
		return buffer[:n], nil
	default:
		return nil, &refusal{http.StatusBadRequest, "request_malformed"}
	}
}

// serveSettle brings every batch to its file and tells how far a session's joints went.
func (p *poseRoute) serveSettle(w http.ResponseWriter, r *http.Request) {
	answer := []byte("{}")
	if p.sessions.files != nil {
		if err := p.sessions.flush(time.Time{}); err != nil {
			refuse(w, err)
			return
		}
		if session := p.sessions.find(r.URL.Query().Get("session")); session != nil {
			answer, _ = json.Marshal(session.reachNow())
		}
	}
	w.Header()["Content-Type"] = jsonType
	w.Write(answer)
}

func refuse(w http.ResponseWriter, err error) {
	told, ok := err.(*refusal)
	if !ok {
		told = &refusal{http.StatusInternalServerError, "internal_error"}
	}
	body := `{"status":` + strconv.Itoa(told.status) + `,"code":"` + told.code + `"}`
	w.Header()["Content-Type"] = problemType
	w.WriteHeader(told.status)
	io.WriteString(w, body)
}

func isOctetStream(contentType string) bool {
	if contentType == octetStream {
		return true
	}
	name, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(name), octetStream)
}

// firstOf spares Header.Get the search for the name's canonical form.
func firstOf(header http.Header, canonical string) string {
	if values := header[canonical]; len(values) > 0 {
		return values[0]
	}
	return ""
}
