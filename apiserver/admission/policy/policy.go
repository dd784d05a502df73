// Package policy applies ValidatingAdmissionPolicies and MutatingAdmissionPolicies: rules about writes that are written in CEL and evaluated in this process.
//
// Policies, their bindings and their parameters are read from the store, so a policy holds when the write of its binding returns. Its expressions are compiled at
// the first request that it is about, and let go when one of its kind changes. A cluster without policies pays two loads for a write.
package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/cel/environment"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/apiserver/admission/match"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/admissionregistration"
	"github.com/tenet-run/tenet/kinds/core"
)

// Config is what the plugins are made of.
type Config struct {
	Reader admission.Reader
	// Changed is store.Store's.
	Changed func(prefix string) *atomic.Uint64
	// Authorizer is what expressions can ask, as "authorizer"; and who may refer to parameters.
	Authorizer authorizer.UnconditionalAuthorizer
	// Kind finds the kind of parameters; nil: it is not served.
	Kind func(schema.GroupVersionKind) (*kinds.Kind, *kinds.Served)
}

// common is what policies of both sorts have.
type common struct {
	name       string
	failure    admissionv1.FailurePolicyType
	paramKind  *admissionv1.ParamKind
	conditions []admissionv1.MatchCondition
	variables  []admissionv1.Variable
	criteria   *match.Criteria
	bindings   []*binding
	broken     error
	sort       string // validate or mutate: for metrics

	once    sync.Once
	matcher matchconditions.Matcher
}

// binding puts a policy to use.
type binding struct {
	name     string
	ref      *admissionv1.ParamRef
	criteria *match.Criteria // nil: the policy's are all
	actions  []admissionv1.ValidationAction
	broken   error
}

func newCommon(name string, failure *admissionv1.FailurePolicyType, k *admissionv1.ParamKind, m *admissionv1.MatchResources, conditions []admissionv1.MatchCondition,
	variables []admissionv1.Variable) *common {
	c := &common{name: name, failure: admissionv1.Fail, paramKind: k, conditions: conditions, variables: variables}
	if failure != nil {
		c.failure = *failure
	}
	if m == nil {
		m = &admissionv1.MatchResources{}
	}
	c.criteria, c.broken = match.FromResources(m)
	return c
}

func newBinding(name string, ref *admissionv1.ParamRef, m *admissionv1.MatchResources) *binding {
	b := &binding{name: name, ref: ref}
	if m != nil {
		b.criteria, b.broken = match.FromResources(m)
	}
	return b
}

// matches says in which version a request is the binding's business too.
func (b *binding) matches(a *match.Attributes, read admission.Reader) (bool, error) {
	if b.broken != nil || b.criteria == nil {
		return b.broken == nil, b.broken
	}
	i, err := b.criteria.Match(a, read, true)
	return i != nil, err
}

func (c *common) vars() plugincel.OptionalVariableDeclarations {
	return plugincel.OptionalVariableDeclarations{HasParams: c.paramKind != nil, HasAuthorizer: true}
}

// compile makes the compiler of the policy's expressions, with its variables, and its match conditions.
func (c *common) compile() (*plugincel.CompositedCompiler, error) {
	compiler, err := admissionregistration.NewCompiler()
	if err != nil {
		return nil, err
	}
	for _, v := range c.variables {
		compiler.CompileAndStoreVariable(admissionregistration.Variable(v.Name, v.Expression), c.vars(), environment.StoredExpressions)
	}
	if len(c.conditions) > 0 {
		list := make([]plugincel.ExpressionAccessor, len(c.conditions))
		for i := range c.conditions {
			list[i] = (*matchconditions.MatchCondition)(&c.conditions[i])
		}
		c.matcher = matchconditions.NewMatcher(compiler.CompileCondition(list, c.vars(), environment.StoredExpressions), &c.failure, "policy", c.sort, c.name)
	}
	return compiler, nil
}

// sources keeps the policies of one sort, in the order of their names.
type sources[T any] struct {
	changed [2]*atomic.Uint64
	build   func() []T
	mu      sync.Mutex
	current atomic.Pointer[snapshot[T]]
}

type snapshot[T any] struct {
	at   [2]uint64
	list []T
}

func (s *sources[T]) stamp() [2]uint64 { return [2]uint64{s.changed[0].Load(), s.changed[1].Load()} }

func (s *sources[T]) policies() []T {
	if c := s.current.Load(); c != nil && c.at == s.stamp() {
		return c.list
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.stamp()
	if c := s.current.Load(); c != nil && c.at == at {
		return c.list
	}
	next := &snapshot[T]{at, s.build()}
	s.current.Store(next)
	return next.list
}

func sorted(list []kinds.Object) []kinds.Object {
	slices.SortFunc(list, func(a, b kinds.Object) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return list
}

// exempt: nobody's policy stands in the way of who changes policies.
func exempt(r *admission.Request) bool {
	switch r.Kind {
	case admissionregistration.ValidatingAdmissionPolicy, admissionregistration.ValidatingAdmissionPolicyBinding,
		admissionregistration.MutatingAdmissionPolicy, admissionregistration.MutatingAdmissionPolicyBinding:
		return true
	}
	return !match.Visible(r)
}

// params are the parameters of a policy by a binding. A policy without gets one, nil.
func (cfg *Config) params(k *admissionv1.ParamKind, ref *admissionv1.ParamRef, namespace string) ([]runtime.Object, error) {
	if k == nil || ref == nil {
		return []runtime.Object{nil}, nil
	}
	gvk := schema.FromAPIVersionAndKind(k.APIVersion, k.Kind)
	kind, served := cfg.Kind(gvk)
	if kind == nil {
		return nil, fmt.Errorf("paramKind kind `%v` not known", k.String())
	}
	switch {
	case !kind.Namespaced && ref.Namespace != "":
		return nil, errors.New("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
	case !kind.Namespaced:
		namespace = ""
	case ref.Namespace != "":
		namespace = ref.Namespace
	case namespace == "":
		return nil, errors.New("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
	}
	var found []kinds.Object
	switch {
	case ref.Name != "":
		if obj, ok := cfg.Reader.Peek(kind, namespace, ref.Name); ok {
			found = []kinds.Object{obj}
		}
	case ref.Selector != nil:
		sel, err := metav1.LabelSelectorAsSelector(ref.Selector)
		if err != nil {
			return nil, err
		}
		found = cfg.Reader.PeekList(kind, namespace, sel)
	default:
		return nil, errors.New("one of name or selector must be provided")
	}
	if len(found) == 0 && ref.ParameterNotFoundAction != nil && *ref.ParameterNotFoundAction == admissionv1.DenyAction {
		return nil, errors.New("no params found for policy binding with `Deny` parameterNotFoundAction")
	}
	out := make([]runtime.Object, 0, len(found))
	for _, obj := range found {
		v, err := match.Versioned(obj, served, gvk)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// namespace is the namespace of a request, as expressions see it; nil for what is in none, and for namespaces themselves.
func (cfg *Config) namespace(r *admission.Request) (*corev1.Namespace, error) {
	if r.Namespace == "" || r.Kind == core.Namespace {
		return nil, nil
	}
	obj, ok := cfg.Reader.Peek(core.Namespace, "", r.Namespace)
	if !ok {
		return nil, apierrors.NewNotFound(core.Namespace.GroupResource(), r.Namespace)
	}
	return obj.(*corev1.Namespace), nil
}
