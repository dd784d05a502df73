package podspec

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The fields of a pod that containers may ask for, sorted as messages list them.
var (
	envFields = []string{"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs",
		"status.podIP", "status.podIPs"}
	volumeFields   = []string{"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"}
	resourceFields = []string{"limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"}
	// knownFields is every field name that once had a meaning here; others are refused with another message.
	knownFields  = sets.New(append(append([]string{"spec.restartPolicy", "spec.schedulerName", "status.phase"}, envFields...), volumeFields...)...)
	byteDivisors = sets.New("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
)

func (c *checker) env(p *field.Path, vars []corev1.EnvVar) {
	for i := range vars {
		v, at := &vars[i], p.Index(i)
		if v.Name == "" {
			c.required(at.Child("name"), "")
		} else {
			c.each(at.Child("name"), v.Name, validation.IsRelaxedEnvVarName(v.Name))
		}
		if v.ValueFrom != nil {
			c.envValueFrom(at.Child("valueFrom"), v)
		}
	}
}

func (c *checker) envValueFrom(p *field.Path, v *corev1.EnvVar) {
	n, from := 0, v.ValueFrom
	if r := from.FieldRef; r != nil {
		n++
		c.fieldRef(p.Child("fieldRef"), r, envFields)
	}
	if r := from.ResourceFieldRef; r != nil {
		n++
		c.resourceFieldRef(p.Child("resourceFieldRef"), r, false)
	}
	if r := from.ConfigMapKeyRef; r != nil {
		n++
		c.keyRef(p.Child("configMapKeyRef"), r.Name, r.Key)
	}
	if r := from.SecretKeyRef; r != nil {
		n++
		c.keyRef(p.Child("secretKeyRef"), r.Name, r.Key)
	}
	if r := from.FileKeyRef; r != nil {
		n++
		c.fileKeyRef(p.Child("fileKeyRef"), r)
	}
	switch {
	case n == 0:
		c.invalid(p, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`")
	case v.Value != "":
		c.invalid(p, "", "may not be specified when `value` is not empty")
	case n > 1:
		c.invalid(p, "", "may not have more than one field specified at a time")
	}
}

func (c *checker) envFrom(p *field.Path, sources []corev1.EnvFromSource) {
	name := func(p *field.Path, name string) {
		if name == "" {
			c.required(p, "")
			return
		}
		c.each(p, name, apivalidation.NameIsDNSSubdomain(name, true))
	}
	for i := range sources {
		s, at := &sources[i], p.Index(i)
		if s.Prefix != "" {
			c.each(at.Child("prefix"), s.Prefix, validation.IsRelaxedEnvVarName(s.Prefix))
		}
		if s.ConfigMapRef != nil {
			name(at.Child("configMapRef", "name"), s.ConfigMapRef.Name)
		}
		if s.SecretRef != nil {
			name(at.Child("secretRef", "name"), s.SecretRef.Name)
		}
		switch {
		case s.ConfigMapRef == nil && s.SecretRef == nil:
			c.invalid(p, "", "must specify one of: `configMapRef` or `secretRef`")
		case s.ConfigMapRef != nil && s.SecretRef != nil:
			c.invalid(p, "", "may not have more than one field specified at a time")
		}
	}
}

func (c *checker) keyRef(p *field.Path, name, key string) {
	c.each(p.Child("name"), name, apivalidation.NameIsDNSSubdomain(name, false))
	if key == "" {
		c.required(p.Child("key"), "")
		return
	}
	c.each(p.Child("key"), key, validation.IsConfigMapKey(key))
}

func (c *checker) fileKeyRef(p *field.Path, r *corev1.FileKeySelector) {
	if r.Key == "" {
		c.required(p.Child("key"), "")
	} else {
		c.each(p.Child("key"), r.Key, validation.IsRelaxedEnvVarName(r.Key))
	}
	c.requiredDNSLabel(p.Child("volumeName"), r.VolumeName)
	c.notEmpty(p.Child("path"), r.Path)
	c.noBacksteps(p.Child("path"), r.Path)
}

// fileKeyVolumes checks that variables read from files name emptyDir volumes.
func (c *checker) fileKeyVolumes(p *field.Path, spec *corev1.PodSpec) {
	containersAt(spec, p, func(ctr *corev1.Container, p *field.Path) {
		for i := range ctr.Env {
			if ctr.Env[i].ValueFrom == nil || ctr.Env[i].ValueFrom.FileKeyRef == nil {
				continue
			}
			name := ctr.Env[i].ValueFrom.FileKeyRef.VolumeName
			at := p.Child("env").Index(i).Child("valueFrom", "fileKeyRef", "volumeName")
			var source *corev1.VolumeSource
			for j := range spec.Volumes {
				if spec.Volumes[j].Name == name {
					source = &spec.Volumes[j].VolumeSource
				}
			}
			if source == nil {
				c.notFound(at, name)
			} else if source.EmptyDir == nil {
				c.invalid(at, name, "referenced volume must be of type emptyDir")
			}
		}
	})
}

// SplitFieldPath takes "metadata.labels['key']" apart; ok is false when there is no subscript.
func SplitFieldPath(path string) (name, subscript string, ok bool) {
	rest, ok := strings.CutSuffix(path, "']")
	if !ok {
		return path, "", false
	}
	name, subscript, ok = strings.Cut(rest, "['")
	if !ok || name == "" {
		return path, "", false
	}
	return name, subscript, true
}

// fieldRef checks a reference to a field of the pod; fields are those that may be asked for here.
func (c *checker) fieldRef(p *field.Path, r *corev1.ObjectFieldSelector, fields []string) {
	if r.APIVersion == "" {
		c.required(p.Child("apiVersion"), "")
		return
	}
	if r.FieldPath == "" {
		c.required(p.Child("fieldPath"), "")
		return
	}
	name, subscript, subscripted := SplitFieldPath(r.FieldPath)
	unknown := ""
	switch {
	case r.APIVersion != "v1":
		unknown = "unsupported pod version: " + r.APIVersion
	case subscripted && name != "metadata.annotations" && name != "metadata.labels":
		unknown = "field label does not support subscript: " + r.FieldPath
	case !subscripted && name == "spec.host": // as clients of v1beta said it
		name = "spec.nodeName"
	case !subscripted && !knownFields.Has(name):
		unknown = "field label not supported: " + r.FieldPath
	}
	switch {
	case unknown != "":
		c.invalid(p.Child("fieldPath"), r.FieldPath, "error converting fieldPath: "+unknown)
	case subscripted && name == "metadata.annotations":
		c.qualifiedName(p, strings.ToLower(subscript))
	case subscripted:
		c.qualifiedName(p, subscript)
	case !slices.Contains(fields, name):
		c.errs = append(c.errs, field.NotSupported(p.Child("fieldPath"), name, fields))
	}
}

// resourceFieldRef checks a reference to a container's resource; a volume must say of which container.
func (c *checker) resourceFieldRef(p *field.Path, r *corev1.ResourceFieldSelector, volume bool) {
	hugePages := strings.HasPrefix(r.Resource, "limits.hugepages-") || strings.HasPrefix(r.Resource, "requests.hugepages-")
	switch {
	case volume && r.ContainerName == "":
		c.required(p.Child("containerName"), "")
	case r.Resource == "":
		c.required(p.Child("resource"), "")
	case !hugePages && !slices.Contains(resourceFields, r.Resource):
		c.errs = append(c.errs, field.NotSupported(p.Child("resource"), r.Resource, resourceFields))
	}
	if r.Divisor.IsZero() {
		return
	}
	q := r.Divisor // String keeps what it made
	divisor := q.String()
	bytes := func(what string) {
		if !byteDivisors.Has(divisor) {
			c.invalid(p.Child("divisor"), r.Resource,
				fmt.Sprintf("only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the %s resource", what))
		}
	}
	switch r.Resource {
	case "limits.cpu", "requests.cpu":
		if divisor != "1m" && divisor != "1" {
			c.invalid(p.Child("divisor"), r.Resource, "only divisor's values 1m and 1 are supported with the cpu resource")
		}
	case "limits.memory", "requests.memory":
		bytes("memory")
	case "limits.ephemeral-storage", "requests.ephemeral-storage":
		bytes("local ephemeral storage")
	}
	if hugePages {
		bytes("hugepages")
	}
}
