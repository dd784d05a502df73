package admissionregistration

import (
	"fmt"
	"strings"
	"sync"

	celgo "github.com/google/cel-go/cel"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/validation/field"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

// Expression is a CEL expression with the types that it may evaluate to.
type Expression struct {
	Text  string
	Types []*celgo.Type
	Name  string // of a variable
}

// GetExpression implements plugincel.ExpressionAccessor.
func (e *Expression) GetExpression() string { return e.Text }

// ReturnTypes implements plugincel.ExpressionAccessor.
func (e *Expression) ReturnTypes() []*celgo.Type { return e.Types }

// GetName implements plugincel.NamedExpressionAccessor.
func (e *Expression) GetName() string { return e.Name }

// Condition is an expression that is true or false, Text one that is a message, Annotation one that is a message or null, Variable one of any type.
func Condition(text string) *Expression {
	return &Expression{Text: text, Types: []*celgo.Type{celgo.BoolType}}
}

// Text is an expression that makes a string.
func Text(text string) *Expression {
	return &Expression{Text: text, Types: []*celgo.Type{celgo.StringType}}
}

// Annotation is an expression that makes a string or nothing.
func Annotation(text string) *Expression {
	return &Expression{Text: text, Types: []*celgo.Type{celgo.StringType, celgo.NullType}}
}

// Variable is an expression of any type, with the name that others use it by.
func Variable(name, text string) *Expression {
	return &Expression{Name: name, Text: text, Types: []*celgo.Type{celgo.AnyType, celgo.DynType}}
}

// environments is Kubernetes' CEL environment. It is made at the first expression: many megabytes and milliseconds that a cluster without any does not pay.
var environments = sync.OnceValue(func() *environment.EnvSet {
	return environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())
})

// Environments is Kubernetes' CEL environment, made at the first call.
func Environments() *environment.EnvSet { return environments() }

var plainCompiler = sync.OnceValue(func() plugincel.Compiler { return plugincel.NewCompiler(Environments()) })

// Compiler compiles expressions that use no variables of a policy.
func Compiler() plugincel.Compiler { return plainCompiler() }

// stored are expressions that were let in before: they are compiled with what any version of CEL has offered.
type stored map[string]bool

func (s *stored) add(text string) {
	if *s == nil {
		*s = stored{}
	}
	(*s)[text] = true
}

func (s stored) env(text string) environment.Type {
	if s[text] {
		return environment.StoredExpressions
	}
	return environment.NewExpressions
}

// compile says what is wrong with an expression; shown is what the error quotes.
func compile(c plugincel.Compiler, e plugincel.ExpressionAccessor, vars plugincel.OptionalVariableDeclarations, env environment.Type, shown string, fld *field.Path) field.ErrorList {
	return compileError(c.CompileCELExpression(e, vars, env).Error, shown, fld)
}

func compileError(err *cel.Error, shown string, fld *field.Path) field.ErrorList {
	if err == nil {
		return nil
	}
	switch err.Type {
	case cel.ErrorTypeRequired:
		return field.ErrorList{field.Required(fld, err.Detail)}
	case cel.ErrorTypeInvalid:
		return field.ErrorList{field.Invalid(fld, shown, err.Detail)}
	}
	return field.ErrorList{field.InternalError(fld, err)}
}

const maxMatchConditions = 64

func validateMatchConditions(list []admissionv1.MatchCondition, params bool, had *stored, fld *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(list) > maxMatchConditions {
		errs = append(errs, field.TooMany(fld, len(list), maxMatchConditions))
	}
	seen := map[string]bool{}
	for i, c := range list {
		at := fld.Index(i)
		text := strings.TrimSpace(c.Expression)
		if text == "" {
			errs = append(errs, field.Required(at.Child("expression"), ""))
		} else {
			errs = append(errs, compile(Compiler(), Condition(text), plugincel.OptionalVariableDeclarations{HasParams: params, HasAuthorizer: true},
				had.env(text), text, at.Child("expression"))...)
		}
		if c.Name == "" {
			errs = append(errs, field.Required(at.Child("name"), ""))
			continue
		}
		for _, msg := range content.IsQualifiedName(c.Name) {
			errs = append(errs, field.Invalid(at.Child("name"), c.Name, msg))
		}
		if seen[c.Name] {
			errs = append(errs, field.Duplicate(at.Child("name"), c.Name))
		}
		seen[c.Name] = true
	}
	return errs
}

// celReserved are the words that are no identifiers in CEL.
var celReserved = []string{
	"true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace", "return",
	"var", "void", "while",
}

func isIdentifier(s string) bool {
	for i, r := range s {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	for _, w := range celReserved {
		if s == w {
			return false
		}
	}
	return s != ""
}

func validateVariables(c *plugincel.CompositedCompiler, list []admissionv1.Variable, params bool, had stored, fld *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, v := range list {
		at := fld.Index(i)
		if strings.TrimSpace(v.Name) == "" {
			errs = append(errs, field.Required(at.Child("name"), "name is not specified"))
		} else if !isIdentifier(v.Name) {
			errs = append(errs, field.Invalid(at.Child("name"), v.Name, "must be a valid CEL identifier"))
		}
		if strings.TrimSpace(v.Expression) == "" {
			errs = append(errs, field.Required(at.Child("expression"), "expression is not specified"))
			continue
		}
		out := c.CompileAndStoreVariable(Variable(v.Name, v.Expression), plugincel.OptionalVariableDeclarations{HasParams: params, HasAuthorizer: true}, had.env(v.Expression))
		errs = append(errs, compileError(out.Error, v.Expression, at.Child("expression"))...)
	}
	return errs
}

// NewCompiler compiles the expressions of one policy, whose variables it holds.
func NewCompiler() (*plugincel.CompositedCompiler, error) {
	c, err := plugincel.NewCompositedCompiler(Environments())
	if err != nil {
		return nil, fmt.Errorf("CEL environment: %w", err)
	}
	return c, nil
}
