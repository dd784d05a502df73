package apiserver

import (
	"k8s.io/apimachinery/pkg/util/managedfields"

	"github.com/tenet-run/tenet/kinds"
)

// TypeSource gives the structured-merge schema of a served version of a kind. It is asked at the first use and may be slow then.
type TypeSource interface {
	TypeConverter(k *kinds.Kind, s *kinds.Served) (managedfields.TypeConverter, error)
}
