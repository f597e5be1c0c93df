#include <Python.h>

static PyObject *twice(PyObject *self, PyObject *number) {
  (void)self;
  const long value = PyLong_AsLong(number);
  if (value == -1 && PyErr_Occurred() != NULL) return NULL;
  return PyLong_FromLong(2 * value);
}

static PyMethodDef methods[] = {{"twice", twice, METH_O, "Twice a number."}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "speed", NULL, -1, methods};

PyMODINIT_FUNC PyInit_speed(void) { return PyModule_Create(&module); }
