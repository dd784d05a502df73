package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/tenet-run/tenet/kinds"
)

// LimitRange bounds what one pod, container or claim of a namespace may ask for, and gives what it does not ask for.
var LimitRange = kinds.Define(kinds.Definition[*corev1.LimitRange, *corev1.LimitRangeList]{
	Group: "", Version: "v1", Kind: "LimitRange", Plural: "limitranges", ShortNames: []string{"limits"}, Namespaced: true,
	New: func() *corev1.LimitRange { return &corev1.LimitRange{} }, NewList: func() *corev1.LimitRangeList { return &corev1.LimitRangeList{} },
	CreateOnUpdate: true,
	Default: func(l *corev1.LimitRange) {
		for i := range l.Spec.Limits {
			defaultLimits(&l.Spec.Limits[i])
		}
	},
	Validate: validateLimitRange,
})

// defaultLimits fills in what the other bounds of a container imply.
func defaultLimits(l *corev1.LimitRangeItem) {
	if l.Type == corev1.LimitTypeContainer {
		l.Default = fillIn(l.Default, l.Max)
		l.DefaultRequest = fillIn(fillIn(l.DefaultRequest, l.Default), l.Min)
	}
	for _, list := range []corev1.ResourceList{l.Max, l.Min, l.Default, l.DefaultRequest, l.MaxLimitRequestRatio} {
		roundUp(list)
	}
}

func fillIn(list, from corev1.ResourceList) corev1.ResourceList {
	if list == nil {
		list = corev1.ResourceList{}
	}
	for name, q := range from {
		if _, ok := list[name]; !ok {
			list[name] = q.DeepCopy()
		}
	}
	return list
}

// one is the smallest ratio of limit to request.
var one = resource.MustParse("1")
