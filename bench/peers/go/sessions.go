package main

import (
	"os"
	"sync"
	"time"
)

const (
	flushTime = time.Second
	// A session that sends more within a second writes at once: what waits stays bounded.
	mostWaiting = 256 << 10
)

// session is what is known of a session. Sessions are kept until the process ends.
type session struct {
	id   string
	lock sync.Mutex

	position int64
	// Members that are not in the file yet, whether the sweep knows of them, and the last write.
	waiting []byte
	queued  bool
	written time.Time
	reach   reach
	file    *os.File
	use     fileUse
}

func (s *session) reachNow() map[string][]*float32 {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.reach.plain()
}

// sessions finds sessions by id. Without files, batches are accepted only.
type sessions struct {
	files *fileCache

	lock sync.RWMutex
	byID map[string]*session

	queueLock sync.Mutex
	queue     []*session
}

func newSessions(files *fileCache) *sessions {
	return &sessions{files: files, byID: map[string]*session{}}
}

func (all *sessions) find(id string) *session {
	all.lock.RLock()
	defer all.lock.RUnlock()
	return all.byID[id]
}

func (all *sessions) get(id string) *session {
	if found := all.find(id); found != nil {
		return found
	}
	all.lock.Lock()
	defer all.lock.Unlock()
	found := all.byID[id]
	if found == nil {
		found = &session{id: id, reach: noReach}
		all.byID[id] = found
	}
	return found
}

// take counts a batch; in the form full it also computes its angles and writes it, now when the
// session's last write is a second ago, and otherwise together with others.
func (all *sessions) take(s *session, member []byte, b batch, now time.Time) (int64, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.position += int64(b.frames) * landmarkBytes
	if all.files == nil {
		return s.position, nil
	}
	s.reach.widen(b)
	if len(s.waiting) == 0 && now.Sub(s.written) >= flushTime {
		s.written = now
		return s.position, all.files.append(s, member)
	}
	s.waiting = append(s.waiting, member...)
	if now.Sub(s.written) >= flushTime || len(s.waiting) > mostWaiting {
		return s.position, all.write(s, now)
	}
	if !s.queued {
		s.queued = true
		all.queueLock.Lock()
		all.queue = append(all.queue, s)
		all.queueLock.Unlock()
	}
	return s.position, nil
}

// write brings what waits to the file. The session's lock is held.
func (all *sessions) write(s *session, now time.Time) error {
	if len(s.waiting) == 0 {
		return nil
	}
	err := all.files.append(s, s.waiting)
	s.waiting, s.written = s.waiting[:0], now
	return err
}

// flush writes what waits in sessions whose last write is a second ago; with no time given, in all.
func (all *sessions) flush(now time.Time) error {
	all.queueLock.Lock()
	queue := all.queue
	all.queue = nil
	all.queueLock.Unlock()
	var left []*session
	var failed error
	for _, s := range queue {
		s.lock.Lock()
		if now.IsZero() || now.Sub(s.written) >= flushTime {
			if err := all.write(s, time.Now()); err != nil {
				failed = err
			}
			s.queued = false
		} else {
			left = append(left, s)
		}
		s.lock.Unlock()
	}
	if len(left) > 0 {
		all.queueLock.Lock()
		all.queue = append(left, all.queue...)
		all.queueLock.Unlock()
	}
	return failed
}

// sweepUntil flushes again and again; a write that fails ends the process.
func (all *sessions) sweepUntil(stop <-chan struct{}) error {
	ticker := time.NewTicker(sweepTime)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return nil
		case now := <-ticker.C:
			if err := all.flush(now); err != nil {
				return err
			}
		}
	}
}
