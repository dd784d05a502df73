package health

import (
	"encoding/json"
	"net/http"

	"k8s.io/apimachinery/pkg/version"
)

// Version answers /version. info is encoded once.
func Version(info version.Info) (http.Handler, error) {
	body, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-cache, private")
		w.Write(body)
	}), nil
}
