package kinds

import (
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Counts collects what is wrong with the numbers of a status at Path.
type Counts struct {
	Path *field.Path
	Errs field.ErrorList
}

// NotNegative reports a number below zero.
func (c *Counts) NotNegative(name string, v int64) {
	c.Errs = append(c.Errs, apivalidation.ValidateNonnegativeField(v, c.Path.Child(name))...)
}

// AtMost reports a number that is greater than another.
func (c *Counts) AtMost(name string, v, limit int32, limitName string) {
	if v > limit {
		c.Errs = append(c.Errs, field.Invalid(c.Path.Child(name), v, "cannot be greater than "+limitName))
	}
}
