package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	mostTokens    = 65_536
	longestToken  = 2048
	leewaySeconds = 5
)

// known is a token whose signature holds; its times are checked on every use.
type known struct {
	issued, expires int64
	session         *session
}

// tokens verifies Authorization headers, and keeps those that held by their whole text.
type tokens struct {
	secret   []byte
	sessions *sessions
	lock     sync.RWMutex
	known    map[string]known
}

func newTokens(secret []byte, sessions *sessions) *tokens {
	return &tokens{secret: secret, sessions: sessions, known: map[string]known{}}
}

func (t *tokens) verify(authorization string, now time.Time) (*session, error) {
	t.lock.RLock()
	found, ok := t.known[authorization]
	t.lock.RUnlock()
	if !ok {
		claims, err := t.read(authorization)
		if err != nil {
			return nil, err
		}
		found = known{claims.issued, claims.expires, nil}
		if err := found.check(now); err != nil {
			return nil, err
		}
		found.session = t.sessions.get(claims.session)
		t.keep(authorization, found)
		return found.session, nil
	}
	return found.session, found.check(now)
}

func (k known) check(now time.Time) error {
	if unix := now.Unix(); unix >= k.expires || k.issued > unix+leewaySeconds {
		return &refusal{http.StatusUnauthorized, "token_expired"}
	}
	return nil
}

func (t *tokens) keep(authorization string, found known) {
	t.lock.Lock()
	defer t.lock.Unlock()
	if len(t.known) >= mostTokens {
		for other := range t.known { // any: the map's order is random
			delete(t.known, other)
			break
		}
	}
	t.known[authorization] = found
}

type claims struct {
	session         string
	issued, expires int64
}

var (
	errUnauthorized = &refusal{http.StatusUnauthorized, "unauthorized"}
	coding          = base64.RawURLEncoding.Strict()
)

func (t *tokens) read(authorization string) (claims, error) {
	const scheme = "Bearer "
	if len(authorization) < len(scheme) || !strings.EqualFold(authorization[:len(scheme)], scheme) {
		return claims{}, errUnauthorized
	}
	token := strings.TrimSpace(authorization[len(scheme):])
	dot := strings.LastIndexByte(token, '.')
	if len(token) > longestToken || dot < 0 || strings.Count(token, ".") != 2 ||
		!strings.HasPrefix(token, "v1.") {
		return claims{}, errUnauthorized
	}
	seen, err := coding.DecodeString(token[dot+1:])
	if err != nil {
		return claims{}, errUnauthorized
	}
	signature := hmac.New(sha256.New, t.secret)
	signature.Write([]byte(token[:dot]))
	if !hmac.Equal(signature.Sum(nil), seen) {
		return claims{}, errUnauthorized
	}
	text, err := coding.DecodeString(token[len("v1."):dot])
	if err != nil || !utf8.Valid(text) {
		return claims{}, errUnauthorized
	}
	return readClaims(text)
}

func readClaims(text []byte) (claims, error) {
	// A map and not a struct: encoding/json would take a field's name in any case.
	var plain map[string]json.RawMessage
	if json.Unmarshal(text, &plain) != nil {
		return claims{}, errUnauthorized
	}
	ids := [3]string{}
	for at, name := range [...]string{"exercise_session_id", "principal_id", "org_id"} {
		if json.Unmarshal(plain[name], &ids[at]) != nil || !isUUID(ids[at]) {
			return claims{}, errUnauthorized
		}
	}
	issued, err := strconv.ParseInt(string(plain["iat"]), 10, 64)
	if err != nil {
		return claims{}, errUnauthorized
	}
	expires, err := strconv.ParseInt(string(plain["exp"]), 10, 64)
	if err != nil {
		return claims{}, errUnauthorized
	}
	return claims{strings.ToLower(ids[0]), issued, expires}, nil
}

func isUUID(text string) bool {
	if len(text) != 36 {
		return false
	}
	for at := 0; at < len(text); at++ {
		c := text[at]
		switch {
		case at == 8 || at == 13 || at == 18 || at == 23:
			if c != '-' {
				return false
			}
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		default:
			return false
		}
	}
	return true
}
