package apiserver

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/store"
)

// tokenLife is how long a list can be continued at its own revision, as clients of Kubernetes expect.
const tokenLife = 5 * time.Minute

// continueTokens remembers since when lists at a revision are being continued.
type continueTokens struct {
	mu     sync.Mutex
	since  time.Time // of tokens that were issued before this process started
	issued map[store.Revision]time.Time
}

func (t *continueTokens) start(now time.Time) {
	t.since, t.issued = now, map[store.Revision]time.Time{}
}

func (t *continueTokens) issue(at store.Revision, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.issued[at]; ok {
		return
	}
	if len(t.issued) >= 1024 {
		for r, when := range t.issued {
			if now.Sub(when) > tokenLife {
				delete(t.issued, r)
			}
		}
	}
	t.issued[at] = now
}

func (t *continueTokens) expired(at store.Revision, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	when, ok := t.issued[at]
	if !ok {
		when = t.since
	}
	return now.Sub(when) > tokenLife
}

// continueToken is the form in which Kubernetes writes where a list goes on.
type continueToken struct {
	APIVersion      string `json:"v"`
	ResourceVersion int64  `json:"rv"`
	StartKey        string `json:"start"`
}

// encodeContinue makes the token for what comes after key. rv -1 means the newest revision.
func encodeContinue(namespace string, last store.Key, rv int64) string {
	start := last.Name
	if namespace == "" && last.Namespace != "" {
		start = last.Namespace + "/" + last.Name
	}
	data, _ := json.Marshal(continueToken{"meta.k8s.io/v1", rv, start + "\x00"})
	return base64.RawURLEncoding.EncodeToString(data)
}

func badToken(err error) error {
	return apierrors.NewBadRequest(fmt.Sprintf("invalid continue token: %v", err))
}

// decodeContinue gives the key after which to go on, and the revision: -1 for the newest.
func decodeContinue(token, prefix, namespace string, namespaced bool) (*store.Key, int64, error) {
	data, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return nil, 0, badToken(fmt.Errorf("continue key is not valid: %w", err))
	}
	var t continueToken
	if err := json.Unmarshal(data, &t); err != nil {
		return nil, 0, badToken(fmt.Errorf("continue key is not valid: %w", err))
	}
	if t.APIVersion != "meta.k8s.io/v1" {
		return nil, 0, badToken(fmt.Errorf("continue key is not valid: server does not recognize this encoded version %s", t.APIVersion))
	}
	if t.ResourceVersion == 0 {
		return nil, 0, badToken(fmt.Errorf("continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)"))
	}
	if t.StartKey == "" {
		return nil, 0, badToken(fmt.Errorf("continue key is not valid: encoded start key empty (version meta.k8s.io/v1)"))
	}
	start := strings.TrimPrefix(t.StartKey, "/")
	if path.Clean("/"+start) != "/"+start {
		return nil, 0, badToken(fmt.Errorf("continue key is not valid: %s", t.StartKey))
	}
	key := &store.Key{Prefix: prefix, Namespace: namespace, Name: strings.TrimSuffix(start, "\x00")}
	if namespaced && namespace == "" {
		key.Namespace, key.Name, _ = strings.Cut(key.Name, "/")
	}
	return key, t.ResourceVersion, nil
}

const continueExpired = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, " +
	"or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent " +
	"list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list."

// continueGone is the 410 for an old token, with one that goes on at the newest revision.
func continueGone(namespace string, after store.Key) error {
	err := apierrors.NewResourceExpired(continueExpired)
	err.ErrStatus.ListMeta = metav1.ListMeta{Continue: encodeContinue(namespace, after, -1)}
	return err
}
