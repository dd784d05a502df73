package apiserver

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/store"
)

// seal makes the store's write of a hub object, which belongs to the caller.
func (c *call) seal(obj kinds.Object) (store.Write, error) { return c.sealOf(c.kind, obj) }

// sealOf is seal for an object of any kind.
func (s *Server) sealOf(k *kinds.Kind, obj kinds.Object) (store.Write, error) {
	value, err := k.Storage.Codec.Encode(obj)
	if err != nil {
		return store.Write{}, fmt.Errorf("encode %s %s/%s: %w", k.Kind, obj.GetNamespace(), obj.GetName(), err)
	}
	w := store.Write{Key: keyOf(k, obj.GetNamespace(), obj.GetName()), Value: value}
	w.Header.UID = obj.GetUID()
	w.Header.Labels = obj.GetLabels()
	for _, o := range obj.GetOwnerReferences() {
		w.Header.Owners = append(w.Header.Owners, o.UID)
	}
	for name, f := range k.Fields {
		if v := f(obj); v != "" {
			if w.Header.Fields == nil {
				w.Header.Fields = make(map[string]string, len(k.Fields))
			}
			w.Header.Fields[name] = v
		}
	}
	if k.TTL != nil {
		if ttl := k.TTL(obj); ttl > 0 {
			w.Header.Expires = s.now().Add(ttl)
		}
	}
	return w, nil
}

// commit makes one write durable. A failed precondition is a *store.ConflictError.
func (c *call) commit(w store.Write) (*store.Record, error) {
	if len(w.Value) > store.MaxBytes {
		return nil, tooLarge(w)
	}
	records, err := c.cfg.Store.Commit(c.ctx, w)
	if err != nil {
		if errors.Is(err, store.ErrTooLarge) {
			return nil, tooLarge(w)
		}
		return nil, err
	}
	c.committed(w.Key)
	if len(records) == 0 {
		return nil, nil
	}
	return records[0], nil
}

// commitWith is commit with what admission wants written in the same commit. When one of those writes is overtaken, admission is asked again; a
// *store.ConflictError is about w.
func (c *call) commitWith(r *admission.Request, w store.Write) (*store.Record, error) {
	if !r.HasFurther() {
		return c.commit(w)
	}
	if len(w.Value) > store.MaxBytes {
		return nil, tooLarge(w)
	}
	for {
		changes, err := r.Further(c.ctx)
		if err != nil {
			return nil, c.refused(r, err)
		}
		writes := []store.Write{w}
		for _, ch := range changes {
			next, err := c.sealChange(ch)
			if err != nil {
				return nil, err
			}
			writes = append(writes, next)
		}
		records, err := c.cfg.Store.Commit(c.ctx, writes...)
		var conflict *store.ConflictError
		switch {
		case errors.As(err, &conflict) && conflict.Index > 0:
			if err := c.ctx.Err(); err != nil {
				return nil, err
			}
			continue
		case errors.Is(err, store.ErrTooLarge):
			return nil, tooLarge(w)
		case err != nil:
			return nil, err
		}
		for _, w := range writes {
			c.committed(w.Key)
		}
		return records[0], nil
	}
}

func (c *call) sealChange(ch admission.Change) (store.Write, error) {
	revision, err := parseRevision(ch.Old.GetResourceVersion())
	if err != nil {
		return store.Write{}, err
	}
	ch.Object.SetResourceVersion("")
	w, err := c.sealOf(ch.Kind, ch.Object)
	w.Expect.Revision = revision
	return w, err
}

// committed tells those who must know of a write before its writer does.
func (s *Server) committed(key store.Key) {
	if f := s.cfg.Committed[key.Prefix]; f != nil {
		f(key)
	}
}

// tooLarge has the text that clients know from etcd.
func tooLarge(w store.Write) error {
	return errObjectTooLarge{fmt.Errorf("etcdserver: request is too large (%s has %d bytes, the limit is %d)", w.Key, len(w.Value), store.MaxBytes)}
}

type errObjectTooLarge struct{ error }

// same reports that a write would change nothing.
func same(r *store.Record, w *store.Write) bool {
	return bytes.Equal(r.Value, w.Value)
}

func setRevision(obj metav1.Object, r store.Revision) {
	obj.SetResourceVersion(strconv.FormatUint(uint64(r), 10))
}

// stamp is the time of a change as objects keep it, in whole seconds.
func (s *Server) stamp() metav1.Time { return metav1.NewTime(s.now().Truncate(time.Second)) }

// fillSystemFields sets what the server gives every new object.
func (s *Server) fillSystemFields(obj metav1.Object) {
	obj.SetCreationTimestamp(s.stamp())
	obj.SetUID(newUID())
}

func wipeSystemFields(obj metav1.Object) {
	obj.SetCreationTimestamp(metav1.Time{})
	obj.SetUID("")
	obj.SetDeletionTimestamp(nil)
	obj.SetDeletionGracePeriodSeconds(nil)
	obj.SetSelfLink("")
}

const (
	duplicateOwners = ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests " +
		"as early as 1.24; please fix your requests; duplicate UID(s) observed: %v"
	duplicateOwnersAfterAdmission = ".metadata.ownerReferences contains duplicate entries after mutating admission happens; API server dedups owner " +
		"references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: %v"
)

// dedupOwners drops repeated owner references, with a warning.
func (c *call) dedupOwners(obj metav1.Object, format string) {
	refs := obj.GetOwnerReferences()
	if len(refs) < 2 {
		return
	}
	var kept []metav1.OwnerReference
	var dropped []types.UID
next:
	for _, r := range refs {
		for _, k := range kept {
			if k.UID == r.UID && apiequality.Semantic.DeepEqual(k, r) {
				dropped = append(dropped, r.UID)
				continue next
			}
		}
		kept = append(kept, r)
	}
	if len(dropped) == 0 {
		return
	}
	obj.SetOwnerReferences(kept)
	text := ""
	for i, u := range dropped {
		if i > 0 {
			text += ", "
		}
		text += string(u)
	}
	c.warn(fmt.Sprintf(format, text))
}
