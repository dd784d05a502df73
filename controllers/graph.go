package controllers

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Check reports every reason why controllers cannot run together.
func Check(list ...Controller) error {
	var errs []error
	names := map[string]bool{}
	owners := map[Output]string{}
	for _, c := range list {
		if c.Name == "" || c.Plan == nil || len(c.Inputs) == 0 || len(c.Outputs) == 0 {
			errs = append(errs, fmt.Errorf("controllers: %q lacks a name, inputs, outputs or a plan", c.Name))
		}
		if names[c.Name] {
			errs = append(errs, fmt.Errorf("controllers: two are called %q", c.Name))
		}
		names[c.Name] = true
		for _, in := range c.Inputs {
			if (in.Kind == nil) == (in.Kinds == nil) {
				errs = append(errs, fmt.Errorf("controllers: an input of %q names no kind, or both one and a set", c.Name))
			}
		}
		for _, out := range c.Outputs {
			if other, taken := owners[out]; taken {
				errs = append(errs, fmt.Errorf("controllers: %q and %q both own %s", other, c.Name, out))
			}
			owners[out] = c.Name
		}
	}
	return errors.Join(errs...)
}

// String is the output as graph and errors show it.
func (o Output) String() string {
	if o.Kind == nil {
		return "* " + o.Fields
	}
	return o.Kind.GroupResource().String() + " " + o.Fields
}

// Graph prints what each controller reads and what it alone writes.
func Graph(list ...Controller) string {
	var b strings.Builder
	for i, c := range list {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s\n", c.Name)
		var reads []string
		for _, in := range c.Inputs {
			name := "*"
			if in.Kind != nil {
				name = in.Kind.GroupResource().String()
			}
			if !slices.Contains(reads, name) {
				reads = append(reads, name)
			}
		}
		fmt.Fprintf(&b, "  reads   %s\n", strings.Join(reads, ", "))
		for _, out := range c.Outputs {
			fmt.Fprintf(&b, "  writes  %s\n", out)
		}
	}
	return b.String()
}
