package server

import (
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/server/control"
)

// ControllerGraph says what each controller reads and owns.
func ControllerGraph() (string, error) {
	list := control.ControllerList()
	if err := controllers.Check(list...); err != nil {
		return "", err
	}
	return controllers.Graph(list...), nil
}
