"""Recordings rendered from simulators' worlds and meshes, by Blender's Cycles as a program of its own.

`sdf` and `meshes` read a scene; `free_space` knows where cameras fit, `views` and `clutter` use it; `appearance` draws
colours and light, `sensor` makes images of light; `blender` runs `blender_program`, which alone imports bpy.
"""
