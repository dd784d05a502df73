package podspec

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	mirrorAnnotation       = corev1.MirrorPodAnnotationKey
	tolerationsAnnotation  = corev1.TolerationsAnnotationKey
	seccompAnnotation      = corev1.SeccompPodAnnotationKey
	seccompAnnotations     = corev1.SeccompContainerAnnotationKeyPrefix
	appArmorAnnotations    = corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix
	appArmorRuntimeDefault = corev1.DeprecatedAppArmorBetaProfileRuntimeDefault
	appArmorUnconfined     = corev1.DeprecatedAppArmorBetaProfileNameUnconfined
	appArmorLocalhost      = corev1.DeprecatedAppArmorBetaProfileNamePrefix
)

// annotations checks the annotations that mean something to pods.
func (c *checker) annotations(p *field.Path, annotations map[string]string, spec *corev1.PodSpec) {
	if len(annotations) == 0 {
		return
	}
	if value, mirror := annotations[mirrorAnnotation]; mirror && spec.NodeName == "" {
		c.invalid(p.Key(mirrorAnnotation), value, "must set spec.nodeName if mirror pod annotation is set")
	}
	if value := annotations[tolerationsAnnotation]; value != "" {
		var tolerations []corev1.Toleration
		if err := json.Unmarshal([]byte(value), &tolerations); err != nil {
			c.invalid(p, tolerationsAnnotation, err.Error())
		} else {
			c.tolerations(p.Child(tolerationsAnnotation), tolerations)
		}
	}
	if value, ok := annotations[corev1.PodDeletionCost]; ok && !c.anyDeletionCost && !validDeletionCost(value) {
		c.invalid(p.Key(corev1.PodDeletionCost), value, "must be a 32bit integer")
	}
	if value, ok := annotations[seccompAnnotation]; ok {
		c.seccompAnnotation(p.Child(seccompAnnotation), value)
	}
	for _, k := range sortedKeys(annotations, seccompAnnotations) {
		c.seccompAnnotation(p.Child(k), annotations[k])
	}
	for _, k := range sortedKeys(annotations, appArmorAnnotations) {
		name, value := strings.TrimPrefix(k, appArmorAnnotations), annotations[k]
		if !anyContainer(spec, func(ctr *corev1.Container) bool { return ctr.Name == name }) {
			c.invalid(p.Key(k), name, "container not found")
		}
		if value != "" && value != appArmorRuntimeDefault && value != appArmorUnconfined && !strings.HasPrefix(value, appArmorLocalhost) {
			c.invalid(p.Key(k), value, fmt.Sprintf("invalid AppArmor profile name: %q", value))
		}
	}
}

func sortedKeys(m map[string]string, prefix string) []string {
	var keys []string
	for k := range m {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// validDeletionCost: an integer of 32 bits without sign "+" or leading zeros.
func validDeletionCost(value string) bool {
	if value != "" && (value[0] == '+' || len(value) > 1 && value[0] == '0') {
		return false
	}
	_, err := strconv.ParseInt(value, 10, 32)
	return err == nil
}

func (c *checker) seccompAnnotation(p *field.Path, value string) {
	switch {
	case value == corev1.SeccompProfileRuntimeDefault, value == corev1.DeprecatedSeccompProfileDockerDefault, value == corev1.SeccompProfileNameUnconfined:
	case strings.HasPrefix(value, corev1.SeccompLocalhostProfileNamePrefix):
		c.descendingPath(p, strings.TrimPrefix(value, corev1.SeccompLocalhostProfileNamePrefix))
	default:
		c.invalid(p, value, "must be a valid seccomp profile")
	}
}

// profilesMatch checks that annotations of old and the fields that replaced them say the same.
func (c *checker) profilesMatch(p *field.Path, annotations map[string]string, spec *corev1.PodSpec) {
	if len(annotations) == 0 {
		return
	}
	var appArmor *corev1.AppArmorProfile
	if sc := spec.SecurityContext; sc != nil {
		if value, ok := annotations[seccompAnnotation]; ok && sc.SeccompProfile != nil {
			c.seccompMatches(p.Child("securityContext", "seccompProfile"), value, sc.SeccompProfile)
		}
		appArmor = sc.AppArmorProfile
	}
	containersAt(spec, p, func(ctr *corev1.Container, p *field.Path) {
		value, ok := annotations[seccompAnnotations+ctr.Name]
		if sc := ctr.SecurityContext; ok && sc != nil && sc.SeccompProfile != nil {
			c.seccompMatches(p.Child("securityContext", "seccompProfile"), value, sc.SeccompProfile)
		}
	})
	if isWindows(spec) {
		return
	}
	containersAt(spec, p, func(ctr *corev1.Container, p *field.Path) {
		value, ok := annotations[appArmorAnnotations+ctr.Name]
		profile := appArmor
		if sc := ctr.SecurityContext; sc != nil && sc.AppArmorProfile != nil {
			profile = sc.AppArmorProfile
		} else if ok && c.isPod && appArmorOfAnnotation(value) != nil {
			return // becomes the container's own, see AppArmorFields
		}
		if ok && profile != nil {
			c.appArmorMatches(p.Child("securityContext", "appArmorProfile"), value, profile)
		}
	})
}

func (c *checker) seccompMatches(p *field.Path, value string, s *corev1.SeccompProfile) {
	ok := true
	switch s.Type {
	case corev1.SeccompProfileTypeUnconfined:
		ok = value == corev1.SeccompProfileNameUnconfined
	case corev1.SeccompProfileTypeRuntimeDefault:
		ok = value == corev1.SeccompProfileRuntimeDefault || value == corev1.DeprecatedSeccompProfileDockerDefault
	case corev1.SeccompProfileTypeLocalhost:
		var local string
		if local, ok = strings.CutPrefix(value, corev1.SeccompLocalhostProfileNamePrefix); ok && (s.LocalhostProfile == nil || local != *s.LocalhostProfile) {
			c.forbidden(p.Child("localhostProfile"), "seccomp profile in annotation and field must match")
		}
	}
	if !ok {
		c.forbidden(p.Child("type"), "seccomp type in annotation and field must match")
	}
}

func (c *checker) appArmorMatches(p *field.Path, value string, s *corev1.AppArmorProfile) {
	ok := true
	switch s.Type {
	case corev1.AppArmorProfileTypeUnconfined:
		ok = value == appArmorUnconfined
	case corev1.AppArmorProfileTypeRuntimeDefault:
		ok = value == appArmorRuntimeDefault
	case corev1.AppArmorProfileTypeLocalhost:
		var local string
		if local, ok = strings.CutPrefix(value, appArmorLocalhost); ok && (s.LocalhostProfile == nil || local != *s.LocalhostProfile) {
			c.forbidden(p.Child("localhostProfile"), "apparmor profile in annotation and field must match")
		}
	}
	if !ok {
		c.forbidden(p.Child("type"), "apparmor type in annotation and field must match")
	}
}

// appArmorOfAnnotation is the field that says what an annotation says; nil when it says nothing known.
func appArmorOfAnnotation(value string) *corev1.AppArmorProfile {
	switch local, ok := strings.CutPrefix(value, appArmorLocalhost); {
	case value == appArmorUnconfined:
		return &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}
	case value == appArmorRuntimeDefault:
		return &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeRuntimeDefault}
	case ok && local != "":
		return &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeLocalhost, LocalhostProfile: &local}
	}
	return nil
}
