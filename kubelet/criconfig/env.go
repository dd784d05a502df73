package criconfig

import (
	"fmt"
	"net"
	"sort"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/kubelet/downward"
)

// Sources is where environment variables come from. The functions return the API's errors.
type Sources struct {
	ConfigMap func(namespace, name string) (*corev1.ConfigMap, error)
	Secret    func(namespace, name string) (*corev1.Secret, error)
	// Services returns the Services of a namespace.
	Services func(namespace string) []*corev1.Service
	// ServiceHost and ServicePort stand in for Service default/kubernetes.
	ServiceHost string
	ServicePort int
	// File reads a key of an env file in a volume; nil: not supported.
	File func(ref *corev1.FileKeySelector) (value string, found bool, err error)
	// NotFound tells a missing object from other failures.
	NotFound func(error) bool
	Facts    downward.Facts
}

// Env makes the environment of a container: envFrom first, then env in order with $(VAR) expanded, then what is left of the Services' variables.
func Env(pod *corev1.Pod, c *corev1.Container, src *Sources) (map[string]string, error) {
	services := serviceEnv(pod, src)
	env := map[string]string{}
	for _, from := range c.EnvFrom {
		if err := envFrom(pod, &from, env, src); err != nil {
			return nil, err
		}
	}
	for i := range c.Env {
		e := &c.Env[i]
		value, ok := Expand(e.Value, env, services), true
		if e.Value == "" && e.ValueFrom != nil {
			var err error
			if value, ok, err = valueFrom(pod, c, e.ValueFrom, src); err != nil {
				return nil, err
			}
		}
		if ok {
			env[e.Name] = value
		}
	}
	for k, v := range services {
		if _, set := env[k]; !set {
			env[k] = v
		}
	}
	return env, nil
}

func envFrom(pod *corev1.Pod, from *corev1.EnvFromSource, env map[string]string, src *Sources) error {
	switch {
	case from.ConfigMapRef != nil:
		cm, err := src.ConfigMap(pod.Namespace, from.ConfigMapRef.Name)
		if err != nil {
			if src.NotFound(err) && optional(from.ConfigMapRef.Optional) {
				return nil
			}
			return err
		}
		for k, v := range cm.Data {
			env[from.Prefix+k] = v
		}
	case from.SecretRef != nil:
		s, err := src.Secret(pod.Namespace, from.SecretRef.Name)
		if err != nil {
			if src.NotFound(err) && optional(from.SecretRef.Optional) {
				return nil
			}
			return err
		}
		for k, v := range s.Data {
			env[from.Prefix+k] = string(v)
		}
	}
	return nil
}

func optional(o *bool) bool { return o != nil && *o }

func valueFrom(pod *corev1.Pod, c *corev1.Container, from *corev1.EnvVarSource, src *Sources) (value string, ok bool, err error) {
	switch {
	case from.FieldRef != nil:
		value, err = downward.Field(pod, from.FieldRef.FieldPath, src.Facts)
		return value, true, err
	case from.ResourceFieldRef != nil:
		value, err = downward.Resource(pod, c, from.ResourceFieldRef, src.Facts)
		return value, true, err
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		cm, err := src.ConfigMap(pod.Namespace, ref.Name)
		if err != nil {
			if src.NotFound(err) && optional(ref.Optional) {
				return "", false, nil
			}
			return "", false, err
		}
		if value, ok = cm.Data[ref.Key]; !ok && !optional(ref.Optional) {
			return "", false, fmt.Errorf("couldn't find key %v in ConfigMap %v/%v", ref.Key, pod.Namespace, ref.Name)
		}
		return value, ok, nil
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		s, err := src.Secret(pod.Namespace, ref.Name)
		if err != nil {
			if src.NotFound(err) && optional(ref.Optional) {
				return "", false, nil
			}
			return "", false, err
		}
		b, ok := s.Data[ref.Key]
		if !ok && !optional(ref.Optional) {
			return "", false, fmt.Errorf("couldn't find key %v in Secret %v/%v", ref.Key, pod.Namespace, ref.Name)
		}
		return string(b), ok, nil
	case from.FileKeyRef != nil:
		if src.File == nil {
			return "", false, fmt.Errorf("cannot find the volume %q referenced by FileKeyRef", from.FileKeyRef.VolumeName)
		}
		value, ok, err = src.File(from.FileKeyRef)
		if err == nil && !ok && !optional(from.FileKeyRef.Optional) {
			err = fmt.Errorf("environment variable key %q not found in file %q", from.FileKeyRef.Key, from.FileKeyRef.Path)
		}
		return value, ok, err
	}
	return "", true, nil
}

// Expand replaces $(NAME) by the value of the first map that has it; what none has stays as it is, and $$ is a plain $.
func Expand(s string, maps ...map[string]string) string {
	if !strings.Contains(s, "$") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '$' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		switch i++; s[i] {
		case '$':
			b.WriteByte('$')
		case '(':
			end := strings.IndexByte(s[i:], ')')
			if end < 0 {
				b.WriteString("$(")
				continue
			}
			name := s[i+1 : i+end]
			b.WriteString(lookup(name, maps))
			i += end
		default:
			b.WriteByte('$')
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func lookup(name string, maps []map[string]string) string {
	for _, m := range maps {
		if v, ok := m[name]; ok {
			return v
		}
	}
	return "$(" + name + ")"
}

func serviceEnv(pod *corev1.Pod, src *Sources) map[string]string {
	env := map[string]string{}
	var found bool
	if src.Services != nil {
		for _, s := range src.Services(corev1.NamespaceDefault) {
			if s.Name == "kubernetes" && s.Spec.ClusterIP != "" && s.Spec.ClusterIP != corev1.ClusterIPNone {
				found = true
				addService(env, s.Name, s.Spec.ClusterIP, s.Spec.Ports)
			}
		}
	}
	if !found && src.ServiceHost != "" {
		addService(env, "kubernetes", src.ServiceHost, []corev1.ServicePort{{Name: "https", Port: int32(src.ServicePort)}})
	}
	if links := pod.Spec.EnableServiceLinks; src.Services != nil && (links == nil || *links) {
		for _, s := range src.Services(pod.Namespace) {
			if s.Spec.ClusterIP != "" && s.Spec.ClusterIP != corev1.ClusterIPNone {
				addService(env, s.Name, s.Spec.ClusterIP, s.Spec.Ports)
			}
		}
	}
	return env
}

// addService adds {SVC}_SERVICE_HOST and _PORT and the variables of Docker's links.
func addService(env map[string]string, service, ip string, ports []corev1.ServicePort) {
	if len(ports) == 0 {
		return
	}
	upper := func(s string) string { return strings.ToUpper(strings.ReplaceAll(s, "-", "_")) }
	name := upper(service)
	env[name+"_SERVICE_HOST"] = ip
	env[name+"_SERVICE_PORT"] = strconv.Itoa(int(ports[0].Port))
	for i, p := range ports {
		port := strconv.Itoa(int(p.Port))
		if p.Name != "" {
			env[name+"_SERVICE_PORT_"+upper(p.Name)] = port
		}
		proto := "tcp"
		if p.Protocol != "" {
			proto = strings.ToLower(string(p.Protocol))
		}
		url := proto + "://" + net.JoinHostPort(ip, port)
		if i == 0 {
			env[name+"_PORT"] = url
		}
		prefix := name + "_PORT_" + port + "_" + strings.ToUpper(proto)
		env[prefix] = url
		env[prefix+"_PROTO"] = proto
		env[prefix+"_PORT"] = port
		env[prefix+"_ADDR"] = ip
	}
}

func sorted(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
