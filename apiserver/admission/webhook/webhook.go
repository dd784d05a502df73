// Package webhook asks other servers about writes: MutatingWebhookConfigurations and ValidatingWebhookConfigurations.
//
// Configurations are read from the store, through an index that is made anew when one has changed, so a configuration holds when its write returns. A cluster
// without webhooks pays one load for each write. Mutating webhooks are called one after another, by name of the configuration, then as they stand in it;
// validating ones all at once. When a mutating one changes what an earlier one with reinvocationPolicy IfNeeded has seen, or anything at all, the mutators before
// are asked once more.
package webhook

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/cel/environment"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/apiserver/admission/match"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/admissionregistration"
)

// Config is what the plugins are made of.
type Config struct {
	Reader admission.Reader
	// Changed is store.Store's.
	Changed func(prefix string) *atomic.Uint64
	// Authorizer is what match conditions can ask.
	Authorizer authorizer.UnconditionalAuthorizer
	// Log is told of webhooks that failed and are ignored.
	Log func(message string, args ...any)
}

// hook is one webhook, ready to be called.
type hook struct {
	configuration, name string
	criteria            *match.Criteria
	failurePolicy       admissionv1.FailurePolicyType
	sideEffects         *admissionv1.SideEffectClass
	timeout             int32
	versions            []string
	again               bool // reinvocationPolicy IfNeeded
	conditions          []admissionv1.MatchCondition
	client              *client
	broken              error

	compile sync.Once
	matcher matchconditions.Matcher
	kind    string // validating or admit: for metrics
}

// source is all webhooks of one kind of configuration.
type source struct {
	cfg     Config
	kind    *kinds.Kind
	changed *atomic.Uint64
	hooksOf func(kinds.Object) []*hook

	mu      sync.Mutex
	current atomic.Pointer[state]
}

type state struct {
	at    uint64
	hooks []*hook
}

func (s *source) hooks() []*hook {
	at := s.changed.Load()
	if c := s.current.Load(); c != nil && c.at == at {
		return c.hooks
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	had := s.current.Load()
	if at = s.changed.Load(); had != nil && had.at == at {
		return had.hooks
	}
	next := &state{at: at}
	list := s.cfg.Reader.PeekList(s.kind, "", nil)
	slices.SortFunc(list, func(a, b kinds.Object) int { return cmp.Compare(a.GetName(), b.GetName()) })
	for _, obj := range list {
		next.hooks = append(next.hooks, s.hooksOf(obj)...)
	}
	s.current.Store(next)
	if had != nil {
		for _, h := range had.hooks {
			h.client.close()
		}
	}
	return next.hooks
}

func (s *source) hook(configuration string, cc *admissionv1.WebhookClientConfig, rules []admissionv1.RuleWithOperations, policy *admissionv1.MatchPolicyType,
	namespaces, object *metav1.LabelSelector, failure *admissionv1.FailurePolicyType, timeout *int32) *hook {
	h := &hook{configuration: configuration, failurePolicy: admissionv1.Fail, timeout: 10, client: newClient(cc, s.cfg.Reader)}
	if failure != nil {
		h.failurePolicy = *failure
	}
	if timeout != nil {
		h.timeout = *timeout
	}
	h.criteria, h.broken = match.FromWebhook(rules, policy, namespaces, object)
	return h
}

// called says whether and in which version a webhook is to be called.
func (h *hook) called(ctx context.Context, a *match.Attributes, cfg *Config) (*match.Invocation, error) {
	if h.broken != nil {
		return nil, admission.Forbidden(a.Request, "webhook %q: %v", h.name, h.broken)
	}
	i, err := h.criteria.Match(a, cfg.Reader, false)
	if i == nil || err != nil || len(h.conditions) == 0 {
		return i, err
	}
	h.compile.Do(func() {
		list := make([]plugincel.ExpressionAccessor, len(h.conditions))
		for i := range h.conditions {
			list[i] = (*matchconditions.MatchCondition)(&h.conditions[i])
		}
		compiled := plugincel.NewConditionCompiler(admissionregistration.Environments()).CompileCondition(list,
			plugincel.OptionalVariableDeclarations{HasAuthorizer: true}, environment.StoredExpressions)
		h.matcher = matchconditions.NewMatcher(compiled, &h.failurePolicy, "webhook", h.kind, h.name)
	})
	v, err := i.Versioned()
	if err != nil {
		return nil, err
	}
	switch got := h.matcher.Match(ctx, v, nil, cfg.Authorizer); {
	case got.Error != nil:
		return nil, admission.Forbidden(a.Request, "%w", got.Error)
	case !got.Matches:
		return nil, nil
	}
	return i, nil
}
