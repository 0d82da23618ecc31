package main

import (
	"container/list"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

const (
	mostOpenFiles = 16_384 // Penstock's default
	otherFiles    = 1024
)

// fileUse is a session's place in the order of use.
type fileUse = *list.Element

// fileCache keeps a bounded number of sessions' files open, those used last. The front of the list
// was used last. Locks are taken in one order, session then cache, and the file of another session
// is closed only if its lock is free.
type fileCache struct {
	folder string
	most   int
	lock   sync.Mutex
	order  list.List
}

func newFileCache(folder string) *fileCache {
	most := mostOpenFiles
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		if left := int(limit.Cur) - otherFiles; left < most {
			most = left
		}
	}
	if most < 1 {
		most = 1
	}
	return &fileCache{folder: folder, most: most}
}

// append writes to the end of a session's file. The session's lock is held.
func (c *fileCache) append(s *session, data []byte) error {
	if s.file == nil {
		path := filepath.Join(c.folder, s.id+".bin.gz")
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		s.file = file
	}
	if err := c.touch(s); err != nil {
		return err
	}
	_, err := s.file.Write(data)
	return err
}

func (c *fileCache) touch(s *session) error {
	c.lock.Lock()
	defer c.lock.Unlock()
	if s.use != nil {
		c.order.MoveToFront(s.use)
		return nil
	}
	s.use = c.order.PushFront(s)
	for last := c.order.Back(); c.order.Len() > c.most && last != nil; {
		before := last.Prev()
		other := last.Value.(*session)
		if other != s && other.lock.TryLock() {
			c.order.Remove(last)
			err := other.file.Close()
			other.file, other.use = nil, nil
			other.lock.Unlock()
			if err != nil {
				return err
			}
		}
		last = before
	}
	return nil
}
